import { constants } from 'node:os'
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import t from 'tap'
import { OcimountError } from '../../src/errors.js'
import { configureLogger } from '../../src/logger.js'
import { FaultLog } from '../../src/mount/fault-log.js'

t.test('FaultLog logs each cause once and stops at a hundred', async (t) => {
  const file = join(t.testdir(), 'log')
  configureLogger({ level: 'error', file })
  const faults = new FaultLog()
  const failure = new OcimountError('SOURCE_CHANGED', 'Cannot read a.tar: it changed')
  for (let time = 0; time < 3; time++) {
    t.equal(faults.report('read', failure), -constants.errno.EIO)
    t.equal(faults.report('getattr', new TypeError('a mistake')), -constants.errno.EIO)
  }
  const lines = (): { msg: string; code?: string; stack?: string }[] =>
    readFileSync(file, 'utf8')
      .trim()
      .split('\n')
      .map((line) => JSON.parse(line) as { msg: string })
  t.match(lines(), [
    { operation: 'read', code: 'SOURCE_CHANGED', msg: 'Cannot read a.tar: it changed' },
    { operation: 'getattr', code: 'INTERNAL', msg: 'a mistake', stack: /TypeError/ },
  ])
  t.equal(lines().length, 2)
  for (let cause = 0; cause < 500; cause++) faults.note('read', new Error(`cause ${cause}`))
  t.equal(lines().length, 101)
  t.match(lines().at(-1), { msg: /not logged/ })
  configureLogger({ level: 'silent' })
})
