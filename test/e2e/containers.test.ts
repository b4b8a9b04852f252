// Containers from images that were never extracted: `run` and `bundle` with real runtimes, and what is left behind.

import { spawn } from 'node:child_process'
import { once } from 'node:events'
import {
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs'
import { join } from 'node:path'
import t, { type Test } from 'tap'
import { becomes, leavesNothing, processesOf, refuses } from '../helpers/cli-checks.js'
import { cliFixture, type CliFixture } from '../helpers/cli-fixture.js'
import { slownessLine } from '../helpers/native-addon.js'
import { COMMAND, corpora } from '../helpers/run-cli.js'
import { RUNTIME_CASES, runsElsewhere } from '../helpers/runtimes.js'
import { run, rootSkipReason } from '../helpers/with-mount.js'
import { writeSample } from '../cli/sample-image.js'

// Nothing below is of use to who has the file run elsewhere.
if (await runsElsewhere(t, import.meta.url)) process.exit()

const images = corpora() === undefined ? undefined : join(corpora() ?? '', 'images')
const skipImages = images === undefined && 'no real images here'
const busybox = join(images ?? '', 'busybox-1.38-glibc')
const skipRoot = rootSkipReason()

function containerFixture(t: Test): CliFixture {
  const fixture = cliFixture(t)
  const env = { ...fixture.env, OCIMOUNT_DATA_DIR: join(fixture.dir, 'data') }
  return {
    ...fixture,
    env,
    ocimount: (args, options = {}) =>
      fixture.ocimount(args, { ...options, env: { ...env, ...options.env } }),
  }
}

/** No container, bundle, mount or process is left; the server cleans up behind the runtime. */
async function leavesNoContainer(t: Test, fixture: CliFixture): Promise<void> {
  const containers = join(fixture.dir, 'data/containers')
  t.ok(await becomes(() => processesOf(fixture).length === 0), 'no process is left')
  t.strictSame(existsSync(containers) ? readdirSync(containers) : [], [], 'no bundle is left')
  await leavesNothing(t, fixture)
}

/** All that is said of a mount that went well. */
const SLOWNESS = slownessLine('mounted')

for (const { name: runtime, skip } of RUNTIME_CASES) {
  t.test(
    `${runtime}: run gives output and exit status`,
    { skip: skip || skipImages },
    async (t) => {
      const fixture = containerFixture(t)
      const script = 'id -u; pwd; cat; echo to-stderr >&2; touch /new; test -e /new; exit 42'
      const result = await fixture.ocimount(
        ['run', '--runtime', runtime, '-w', '/tmp', busybox, '--', 'sh', '-c', script],
        { input: Buffer.from('from stdin\n') },
      )
      t.match(result, { status: 42, stdout: '0\n/tmp\nfrom stdin\n', stderr: 'to-stderr\n' })
      const hello = await fixture.ocimount([
        ...['run', '--runtime', runtime, '--read-only'],
        join(images ?? '', 'hello-world'),
      ])
      t.match(hello, { status: 0, stdout: /Hello from Docker!/ })
      const variables = join(fixture.dir, 'variables')
      writeFileSync(variables, 'OCIMOUNT_CACHE_SIZE=huge\nA=file\nB=file\n')
      const env = ['run', '--runtime', runtime, '--env-file', variables, '-e', 'B=option']
      const echo = ['sh', '-c', 'echo $A $B $OCIMOUNT_CACHE_SIZE']
      t.match(await fixture.ocimount([...env, busybox, '--', ...echo]), {
        ...{ status: 0, stdout: 'file option huge\n', stderr: SLOWNESS },
      })
      await leavesNoContainer(t, fixture)
    },
  )

  t.test(
    `${runtime}: a bundle runs, and umount ends it`,
    { skip: skip || skipImages },
    async (t) => {
      const fixture = containerFixture(t)
      const bundle = join(fixture.dir, 'bundle')
      const made = await fixture.ocimount([
        'bundle',
        '--json',
        busybox,
        bundle,
        '--',
        'touch',
        '/new',
      ])
      t.match(made, { status: 0, stderr: '' })
      t.match(JSON.parse(made.stdout), { directory: bundle, writable: true })
      t.match(await run([runtime, 'run', '-b', bundle, `test-${process.pid}`]), { status: 0 })
      t.ok(existsSync(join(bundle, 'upper/new')), 'what is written is kept')
      await refuses(t, fixture, ['bundle', busybox, bundle], { status: 6, why: /it is not empty/ })
      t.match(await fixture.ocimount(['umount', bundle]), { status: 0, stdout: '', stderr: '' })
      t.ok(existsSync(join(bundle, 'upper/new')), 'also without the mount')
      t.match(await fixture.ocimount(['umount', '--purge', bundle]), { status: 0 })
      t.notOk(existsSync(bundle))
      await leavesNoContainer(t, fixture)
    },
  )

  t.test(`${runtime}: what was killed is cleaned up`, { skip: skip || skipImages }, async (t) => {
    const fixture = containerFixture(t)
    const id = `test-${process.pid}-${runtime}`
    const start = ['run', '-d', '--runtime', runtime, '--name', id, busybox, '--', 'sleep', '1000']
    t.match(await fixture.ocimount(start), { status: 0, stdout: `${id}\n` })
    t.match(await run([runtime, 'state', id]), { status: 0, stdout: /"running"/ })
    const why = /the container .* runs on it/
    await refuses(t, fixture, ['umount', id], { status: 6, why })
    const [server] = processesOf(fixture)
    process.kill(Number(server?.split(' ')[0]), 'SIGKILL')
    t.ok(await becomes(() => processesOf(fixture).length === 0))
    t.match(await fixture.ocimount(['list']), { status: 0, stdout: '' })
    t.not((await run([runtime, 'state', id])).status, 0, 'the runtime knows nothing of it')
    // What the dead needed of the cache is forgotten when somebody looks.
    await fixture.ocimount(['cache', 'prune', '-q', '--max-size', '1T'])
    await leavesNoContainer(t, fixture)
  })
}

const anyRuntime = RUNTIME_CASES.find(({ skip }) => skip === false)
const skipRun = anyRuntime === undefined ? 'no runtime works here' : skipImages

t.test('containers of one image share a server and nothing else', { skip: skipRun }, async (t) => {
  const fixture = containerFixture(t)
  const ids = ['one', 'two'].map((name) => `test-${process.pid}-${name}`)
  const runtime = anyRuntime?.name ?? ''
  const script =
    'echo "$0" >/www; httpd -p 127.0.0.1:80 -h /; wget -qO- http://127.0.0.1/www >/got; sleep 1000'
  await Promise.all(
    ids.map(async (id) => {
      const args = [
        'run',
        '-d',
        '--runtime',
        runtime,
        '--name',
        id,
        busybox,
        '--',
        'sh',
        '-c',
        script,
        id,
      ]
      t.match(await fixture.ocimount(args), { status: 0, stdout: `${id}\n` })
    }),
  )
  const servers = (): string[] =>
    processesOf(fixture).filter((command) => command.includes('server-main'))
  t.ok(await becomes(() => servers().length === 1))
  for (const id of ids) {
    const got = join(fixture.dir, 'data/containers', id, 'upper/got')
    t.ok(await becomes(() => existsSync(got) && readFileSync(got, 'utf8') === `${id}\n`))
  }
  t.match(await fixture.ocimount(['umount', '-l', ids[0] ?? '']), { status: 0 })
  t.match(await run([runtime, 'state', ids[1] ?? '']), { stdout: /"running"/ })
  t.match(await run([runtime, 'kill', ids[1] ?? '', 'KILL']), { status: 0 })
  await leavesNoContainer(t, fixture)
})

t.test('a signal to run reaches the container', { skip: skipRun }, async (t) => {
  const fixture = containerFixture(t)
  const [program, ...first] = COMMAND
  const script = 'trap "exit 5" TERM; echo ready; while :; do sleep 0.1; done'
  const child = spawn(
    program,
    [...first, 'run', '--runtime', anyRuntime?.name ?? '', busybox, '--', 'sh', '-c', script],
    { env: { ...process.env, ...fixture.env }, stdio: ['ignore', 'pipe', 'inherit'] },
  )
  await once(child.stdout, 'data')
  child.kill('SIGTERM')
  t.strictSame((await once(child, 'exit'))[0], 5)
  await leavesNoContainer(t, fixture)
})

t.test('what run cannot do is one line and 125', { skip: skipRoot }, async (t) => {
  const fixture = containerFixture(t)
  const image = writeSample(fixture.dir)
  const cases: readonly (readonly [args: readonly string[], why: RegExp])[] = [
    [['run', '--runtime', 'no-such-runtime', image], /no-such-runtime is not installed/],
    [['run', join(fixture.dir, 'none.tar'), '--', 'sh'], /none\.tar/],
    [['run', '--name', '../x', image, '--', 'sh'], /Cannot use the name/],
    [['run', '--uid-map', '1:100000:65536', image, '--', 'sh'], /without 0, its root/],
    [['run', '--user', 'nobody-here', image, '--', 'sh'], /nobody-here/],
  ]
  for (const [args, why] of cases) await refuses(t, fixture, args, { status: 125, why })
  const link = join(fixture.dir, 'link')
  symlinkSync(fixture.dir, link)
  const file = join(fixture.dir, 'file')
  writeFileSync(file, '')
  const full = join(fixture.dir, 'full')
  mkdirSync(join(full, 'x'), { recursive: true })
  const places: readonly (readonly [place: string, why: RegExp])[] = [
    [link, /it is a symbolic link/],
    [file, /it is not a directory/],
    [full, /it is not empty/],
    [join(fixture.dir, 'no/parent'), /its parent does not exist/],
  ]
  for (const [place, why] of places) {
    await refuses(t, fixture, ['bundle', image, place], { status: 6, why })
  }
  await leavesNoContainer(t, fixture)
})

t.test('bundle --no-mount writes a config alone', { skip: skipRoot }, async (t) => {
  const fixture = containerFixture(t)
  const bundle = join(fixture.dir, 'bundle')
  const image = writeSample(fixture.dir)
  const args = ['bundle', '-q', '--no-mount', '-u', '0', image, bundle, '--', 'sh']
  t.match(await fixture.ocimount(args), { status: 0, stdout: '', stderr: '' })
  t.strictSame(readdirSync(bundle).sort(), ['config.json', 'rootfs'])
  const config: unknown = JSON.parse(readFileSync(join(bundle, 'config.json'), 'utf8'))
  t.match(config, { root: { path: 'rootfs' }, process: { args: ['sh'] } })
  await leavesNoContainer(t, fixture)
})
