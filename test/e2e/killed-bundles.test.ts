// A serving process that is killed at each step of making a bundle: the next command takes away what it left.

import { existsSync, mkdirSync, readdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import t, { type Test } from 'tap'
import { writeSample } from '../cli/sample-image.js'
import { leavesNothing } from '../helpers/cli-checks.js'
import { cliFixture, type CliFixture } from '../helpers/cli-fixture.js'
import { MAIN } from '../helpers/run-cli.js'
import { run, rootSkipReason } from '../helpers/with-mount.js'

const PRELOAD = new URL('../helpers/kill-server.js', import.meta.url)

const skip = rootSkipReason()

interface Place {
  readonly fixture: CliFixture
  readonly directory: string
  readonly bundle: string
  /** Makes the bundle with a server that kills itself before its n-th change below the directory. */
  readonly make: (step: number) => ReturnType<typeof run>
}

function placeOf(t: Test): Place {
  const fixture = cliFixture(t)
  const image = writeSample(fixture.dir)
  const directory = fixture.mountpoint('place')
  const bundle = join(directory, 'bundle')
  const preload = `NODE_OPTIONS=--import=${PRELOAD.href}`
  const settings = [...Object.entries(fixture.env), ['KILL_BELOW', directory]]
  const command = [process.execPath, MAIN, 'bundle', '-q', '-u', '0', image, bundle, '--', 'true']
  const make = (step: number): ReturnType<typeof run> =>
    run([
      ...['env', preload, `KILL_BEFORE=${step}`, ...settings.map((one) => one.join('='))],
      ...command,
    ])
  return { fixture, directory, bundle, make }
}

t.test('what a killed server left of a bundle goes with it', { skip }, async (t) => {
  const { fixture, directory, bundle, make } = placeOf(t)
  let step = 1
  for (; ; step++) {
    // An empty directory at the place is the user's, and as good as none.
    if (step % 2 === 0) mkdirSync(bundle, { recursive: true })
    const result = await make(step)
    if (result.status === 0) break
    t.match(result, { status: 1, stderr: /^ocimount: .*the serving process ended before/ })
    t.match(await fixture.ocimount(['list']), { status: 0, stdout: '' })
    const left = readdirSync(directory)
    const isEmpty = left.join() === 'bundle' && readdirSync(bundle).length === 0
    t.ok(left.length === 0 || isEmpty, left.join())
    t.strictSame(readdirSync(fixture.env['OCIMOUNT_RUNTIME_DIR'] ?? ''), [], 'no state is left')
  }
  t.ok(step > 8, `${step - 1} steps`)
  t.match(await fixture.ocimount(['umount', '--purge', bundle]), { status: 0 })
  await forgetLeases(fixture)
  await leavesNothing(t, fixture)
})

t.test('a directory that came to the place later is nobody’s to remove', { skip }, async (t) => {
  const { fixture, directory, bundle, make } = placeOf(t)
  t.match(await make(3), { status: 1 })
  mkdirSync(bundle)
  writeFileSync(join(bundle, 'mine'), '')
  t.match(await fixture.ocimount(['list']), { status: 0 })
  t.strictSame(readdirSync(directory), ['bundle'])
  t.ok(existsSync(join(bundle, 'mine')))
  await forgetLeases(fixture)
  await leavesNothing(t, fixture)
})

/** What the dead needed of the cache is forgotten when somebody looks. */
async function forgetLeases(fixture: CliFixture): Promise<void> {
  await fixture.ocimount(['cache', 'prune', '-q', '--max-size', '1T'])
}
