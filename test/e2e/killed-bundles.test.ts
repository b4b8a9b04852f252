// A serving process that is killed at each step of making a bundle: the next command takes away what it left.

import { existsSync, mkdirSync, readdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import t from 'tap'
import { writeSample } from '../cli/sample-image.js'
import { leavesNothing } from '../helpers/cli-checks.js'
import { cliFixture } from '../helpers/cli-fixture.js'
import { MAIN } from '../helpers/run-cli.js'
import { run, rootSkipReason } from '../helpers/with-mount.js'

const PRELOAD = new URL('../helpers/kill-server.js', import.meta.url)

t.test(
  'what a killed server left of a bundle goes with it',
  { skip: rootSkipReason() },
  async (t) => {
    const fixture = cliFixture(t)
    const image = writeSample(fixture.dir)
    const place = fixture.mountpoint('place')
    const bundle = join(place, 'bundle')
    const settings = [...Object.entries(fixture.env), ['KILL_BELOW', place]].map((one) =>
      one.join('='),
    )
    let step = 1
    for (; ; step++) {
      // An empty directory at the place is the user's, and as good as none.
      if (step % 2 === 0) mkdirSync(bundle, { recursive: true })
      const result = await run([
        ...['env', `NODE_OPTIONS=--import=${PRELOAD.href}`, `KILL_BEFORE=${step}`, ...settings],
        ...[process.execPath, MAIN, 'bundle', '-q', '-u', '0', image, bundle, '--', 'true'],
      ])
      if (result.status === 0) break
      t.match(result, { status: 1, stderr: /^ocimount: .*the serving process ended before/ })
      t.match(await fixture.ocimount(['list']), { status: 0, stdout: '' })
      const left = readdirSync(place)
      t.ok(
        left.length === 0 || (left.join() === 'bundle' && readdirSync(bundle).length === 0),
        left.join(),
      )
      t.strictSame(readdirSync(fixture.env['OCIMOUNT_RUNTIME_DIR'] ?? ''), [], 'no state is left')
    }
    t.ok(step > 8, `${step - 1} steps`)
    t.match(await fixture.ocimount(['umount', '--purge', bundle]), { status: 0 })
    // What the dead needed of the cache is forgotten when somebody looks.
    await fixture.ocimount(['cache', 'prune', '-q', '--max-size', '1T'])
    await leavesNothing(t, fixture)
  },
)

t.test(
  'a directory that came to the place later is nobody’s to remove',
  { skip: rootSkipReason() },
  async (t) => {
    const fixture = cliFixture(t)
    const image = writeSample(fixture.dir)
    const place = fixture.mountpoint('place')
    const bundle = join(place, 'bundle')
    const settings = [...Object.entries(fixture.env), ['KILL_BELOW', place]].map((one) =>
      one.join('='),
    )
    const result = await run([
      ...['env', `NODE_OPTIONS=--import=${PRELOAD.href}`, 'KILL_BEFORE=3', ...settings],
      ...[process.execPath, MAIN, 'bundle', '-q', '-u', '0', image, bundle, '--', 'true'],
    ])
    t.equal(result.status, 1)
    mkdirSync(bundle)
    writeFileSync(join(bundle, 'mine'), '')
    t.match(await fixture.ocimount(['list']), { status: 0 })
    t.strictSame(readdirSync(place), ['bundle'])
    t.ok(existsSync(join(bundle, 'mine')))
    // What the dead needed of the cache is forgotten when somebody looks.
    await fixture.ocimount(['cache', 'prune', '-q', '--max-size', '1T'])
    await leavesNothing(t, fixture)
  },
)
