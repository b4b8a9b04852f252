// Mounting from the command line: what is said, how it ends, and what the options do.

import { execFileSync, spawnSync, type ChildProcess } from 'node:child_process'
import {
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  realpathSync,
  writeFileSync,
} from 'node:fs'
import { join } from 'node:path'
import t from 'tap'
import { becomes, cacheOf, leavesNothing, refuses } from '../helpers/cli-checks.js'
import { cliFixture, type CliFixture } from '../helpers/cli-fixture.js'
import { slownessLine } from '../helpers/native-addon.js'
import { spawnCli } from '../helpers/run-cli.js'
import { rootSkipReason } from '../helpers/with-mount.js'
import { writeSample } from './sample-image.js'

const skip = rootSkipReason()
const SUMMARY =
  /^ocimount: (?:docker.io\/)?example\/app:latest \(linux\/amd64\): 2 layers, \d+ files, (?:kernel|fuse|fuse-native), \d+\.\d+ s$/m

/** Starts the command in the foreground and gives what it said and how it ended. */
function foreground(
  fixture: CliFixture,
  args: readonly string[],
): { readonly child: ChildProcess; readonly ended: Promise<string> } {
  const child = spawnCli(['-f', ...args], { env: fixture.env })
  let said = ''
  child.stdout?.on('data', (chunk: Buffer) => (said += chunk.toString()))
  child.stderr?.on('data', (chunk: Buffer) => (said += chunk.toString()))
  const ended = new Promise<string>((resolve) => {
    child.on('close', (code, signal) => {
      resolve(`${signal ?? code ?? ''} ${said}`)
    })
  })
  return { child, ended }
}

t.test(
  'a mount says one line on standard error and returns when it is usable',
  { skip },
  async (t) => {
    const fixture = cliFixture(t)
    writeSample(fixture.dir)
    fixture.mountpoint('with space')
    const cwd = fixture.dir
    const mounted = await fixture.ocimount(['app.tar', './with space/'], { cwd })
    t.match(mounted, { status: 0, stdout: '', stderr: SUMMARY })
    t.equal(readFileSync(join(fixture.dir, 'with space/etc/motd'), 'utf8'), 'hello\n')
    await refuses(
      t,
      fixture,
      ['app.tar', 'with space'],
      { status: 6, why: /already mounted there/ },
      { cwd },
    )
    const status = await fixture.ocimount(['status', 'with space'], { cwd })
    t.match(
      status.stdout,
      `Source:       ${join(fixture.dir, 'app.tar')}\n`,
      'from every directory',
    )
    const unmounted = await fixture.ocimount(['umount', '../with space'], {
      cwd: join(cwd, 'cache'),
    })
    t.match(unmounted, { status: 0, stdout: '', stderr: '' })
    await leavesNothing(t, fixture)
  },
)

t.test('--json is one document, --quiet is silence', { skip }, async (t) => {
  const fixture = cliFixture(t)
  const image = writeSample(fixture.dir)
  const mountpoint = fixture.mountpoint()
  const { status, stdout, stderr } = await fixture.ocimount(['--json', image, mountpoint])
  t.match({ status, stderr }, { status: 0, stderr: '' })
  t.match(JSON.parse(stdout), {
    mountpoint,
    image: /example\/app:latest$/,
    layers: 2,
    driver: /^(?:kernel|fuse|fuse-native)$/,
    writable: false,
    altered: 1,
    pid: Number,
  })
  const unmounted = await fixture.ocimount(['umount', '--json', mountpoint])
  t.strictSame(JSON.parse(unmounted.stdout), { mountpoint, lazy: false })
  const quiet = await fixture.ocimount(['-q', 'mount', image, mountpoint])
  t.match(quiet, { status: 0, stdout: '', stderr: '' })
  t.ok(existsSync(join(mountpoint, 'etc')))
})

t.test('-f stays until a signal or an unmount, and ends without a word', { skip }, async (t) => {
  const fixture = cliFixture(t)
  const image = writeSample(fixture.dir)
  const mountpoint = fixture.mountpoint()
  for (const ending of ['SIGTERM', 'SIGINT', 'umount'] as const) {
    const { child, ended } = foreground(fixture, ['--driver=fuse-native', image, mountpoint])
    t.ok(await becomes(() => existsSync(join(mountpoint, 'etc'))), 'mounted')
    if (ending === 'umount') {
      t.equal((await fixture.ocimount(['umount', mountpoint])).status, 0)
    } else child.kill(ending)
    const said = await ended
    const start = `0 ${slownessLine('mounted')}`
    t.ok(said.startsWith(start), said)
    const lines = said.slice(start.length).trimEnd().split('\n')
    t.match(lines, [/^ocimount: 1 entries were dropped/, /1 names are not UTF-8/, SUMMARY], ending)
    t.equal(lines.length, 3, lines.join('\n'))
  }
  await leavesNothing(t, fixture)
})

t.test('-f ends by a signal although somebody is inside', { skip }, async (t) => {
  const fixture = cliFixture(t)
  const mountpoint = fixture.mountpoint()
  const { child, ended } = foreground(fixture, ['-q', writeSample(fixture.dir), mountpoint])
  t.ok(await becomes(() => existsSync(join(mountpoint, 'etc'))))
  const inside = spawnSync('sh', ['-c', 'exec sleep 30 >/dev/null 2>&1 & echo $!'], {
    cwd: mountpoint,
    encoding: 'utf8',
  })
  child.kill('SIGTERM')
  t.ok(await becomes(() => fixture.mounts().length === 0), 'detached at once')
  process.kill(Number(inside.stdout))
  t.equal(await ended, '0 ')
  await leavesNothing(t, fixture)
})

t.test('`-` mounts an archive from standard input', { skip }, async (t) => {
  const fixture = cliFixture(t)
  const input = readFileSync(writeSample(fixture.dir))
  const mountpoint = fixture.mountpoint()
  const mounted = await fixture.ocimount(['-', mountpoint], { input })
  t.match(mounted, { status: 0, stderr: SUMMARY })
  t.equal(readFileSync(join(mountpoint, 'etc/motd'), 'utf8'), 'hello\n')
  const status = await fixture.ocimount(['status', mountpoint])
  t.match(status.stdout, /^Source: +standard input$/m)
  t.equal((await fixture.ocimount(['umount', mountpoint])).status, 0)
  const cat = await fixture.ocimount(['cat', '-', 'etc/motd'], { input })
  t.match(cat, { status: 0, stdout: 'hello\n', stderr: '' }, 'and the other commands take it too')
  const cases: readonly (readonly [input: Buffer, why: RegExp])[] = [
    [Buffer.alloc(0), /Cannot use standard input as an image: it is empty/],
    [Buffer.from('no archive\n'), /Cannot use standard input as an image: it is not a tar archive/],
    [input.subarray(0, 3000), /the archive ends inside of it/],
  ]
  for (const [bytes, why] of cases) {
    await refuses(t, fixture, ['-', mountpoint], { status: 3, why }, { input: bytes })
  }
  await leavesNothing(t, fixture)
})

t.test(
  'a directory that is not empty is hidden while the image is mounted',
  { skip },
  async (t) => {
    const fixture = cliFixture(t)
    const mountpoint = fixture.mountpoint()
    writeFileSync(join(mountpoint, 'mine'), '')
    const mounted = await fixture.ocimount([writeSample(fixture.dir), mountpoint])
    t.equal(mounted.status, 0, mounted.stderr)
    t.ok(existsSync(join(mountpoint, 'etc')) && !existsSync(join(mountpoint, 'mine')))
    t.equal((await fixture.ocimount(['umount', mountpoint])).status, 0)
    t.strictSame(readdirSync(mountpoint), ['mine'])
  },
)

t.test('a mount point may be in a mount, and an image on one', { skip }, async (t) => {
  const fixture = cliFixture(t)
  const image = writeSample(fixture.dir)
  const outer = fixture.mountpoint('outer')
  const inner = join(outer, 'usr/bin')
  t.equal((await fixture.ocimount(['--writable', image, outer])).status, 0)
  execFileSync('cp', [image, join(outer, 'copy.tar')])
  const mounted = await fixture.ocimount([join(outer, 'copy.tar'), inner])
  t.equal(mounted.status, 0, mounted.stderr)
  t.equal(readFileSync(join(inner, 'etc/motd'), 'utf8'), 'hello\n')
  await refuses(t, fixture, ['umount', outer], { status: 6, why: /it is in use/ })
  t.equal((await fixture.ocimount(['umount', inner])).status, 0)
  t.equal((await fixture.ocimount(['umount', outer])).status, 0)
  await leavesNothing(t, fixture)
})

t.test('-o takes what mount(8) passes on', { skip }, async (t) => {
  const fixture = cliFixture(t)
  const image = writeSample(fixture.dir)
  const mountpoint = fixture.mountpoint()
  const options = ['-o', 'rw,dev,suid,x-systemd.automount', '-o', 'noexec,ref=example/app:latest']
  const mounted = await fixture.ocimount([image, mountpoint, ...options])
  t.equal(mounted.status, 0, mounted.stderr)
  const line = mountinfo(mountpoint)
  for (const flag of ['ro', 'nodev', 'nosuid', 'noexec'])
    t.match(line, new RegExp(`[ ,]${flag}[ ,]`))
})

t.test('--writable keeps nothing, --writable=DIR keeps what is written', { skip }, async (t) => {
  const fixture = cliFixture(t)
  const image = writeSample(fixture.dir)
  const mountpoint = fixture.mountpoint()
  const kept = join(fixture.dir, 'kept, with:punctuation')
  for (const [option, isKept] of [
    ['--writable', false],
    [`--writable=${kept}`, true],
  ] as const) {
    for (const turn of [1, 2]) {
      const mounted = await fixture.ocimount([option, image, mountpoint])
      t.match(mounted, { status: 0, stderr: /(?:kernel|fuse|fuse-native) \+ overlay/ })
      t.equal(existsSync(join(mountpoint, 'new')), isKept && turn === 2, `${option}, ${turn}`)
      writeFileSync(join(mountpoint, 'new'), 'x')
      writeFileSync(join(mountpoint, 'etc/motd'), 'changed\n')
      t.equal((await fixture.ocimount(['umount', mountpoint])).status, 0)
    }
  }
  t.equal(readFileSync(join(kept, 'upper/etc/motd'), 'utf8'), 'changed\n')
  const cat = await fixture.ocimount(['cat', image, '/etc/motd'])
  t.equal(cat.stdout, 'hello\n', 'the image is as it was')
  await leavesNothing(t, fixture)
})

t.test('one image mounts at many places at once from a cold cache', { skip }, async (t) => {
  const fixture = cliFixture(t)
  const image = writeSample(fixture.dir)
  const places = ['a', 'b', 'c'].map((name) => fixture.mountpoint(name))
  const results = await Promise.all([
    ...places.map((place) => fixture.ocimount([image, place])),
    fixture.ocimount([image, places[0] ?? '']),
  ])
  const statuses = results.map(({ status }) => status)
  t.strictSame(statuses.slice(1, 3), [0, 0])
  t.strictSame([statuses[0], statuses[3]].sort(), [0, 6], 'of two at one place one mounts')
  for (const place of places) {
    t.equal(readFileSync(join(place, 'etc/motd'), 'utf8'), 'hello\n')
    t.equal((await fixture.ocimount(['umount', place])).status, 0)
  }
  await leavesNothing(t, fixture)
})

t.test('what cannot work is said before anything is done', { skip }, async (t) => {
  const fixture = cliFixture(t)
  const image = writeSample(fixture.dir)
  const file = join(fixture.dir, 'file')
  writeFileSync(file, '')
  const cases: readonly (readonly [args: readonly string[], status: number, why: RegExp])[] = [
    [[image, join(fixture.dir, 'none')], 6, /it does not exist; create the directory first/],
    [[image, file], 6, /it is not a directory/],
    [['--cache-dir', file, image, fixture.mountpoint()], 8, /it is not a directory/],
    [['--cache-dir', '/proc', image, fixture.mountpoint()], 8, /Cannot use the cache directory/],
    [['--ref', 'other', image, fixture.mountpoint()], 4, /it holds .*example\/app:latest/],
  ]
  for (const [args, status, why] of cases) await refuses(t, fixture, args, { status, why })
  mkdirSync(cacheOf(fixture), { recursive: true })
  await leavesNothing(t, fixture)
})

/** Why `mount -t fuse.ocimount` would not run this program, or false. */
function whyNotLinked(): string | false {
  if (skip !== false) return skip
  const link = '/usr/local/bin/ocimount'
  if (!existsSync(link) || !existsSync('/sbin/mount.fuse3'))
    return `${link} or mount.fuse3 is missing`
  const root = realpathSync('.')
  const runs = readFileSync(realpathSync(link), 'utf8')
  const isOurs =
    realpathSync(link).startsWith(root) || runs.includes(`'${root}/dist/program/main.js'`)
  if (!isOurs) return `${link} does not run this program`
  return existsSync('dist/program/main.js') ? false : 'the program is not built'
}

t.test('mount -t fuse.ocimount works as in fstab', { skip: whyNotLinked() }, async (t) => {
  const fixture = cliFixture(t)
  const image = writeSample(fixture.dir)
  const mountpoint = fixture.mountpoint('with space')
  // mount.fuse3 starts the command without our environment's PATH, but with the rest of it.
  const env = { ...process.env, ...fixture.env, NODE_OPTIONS: '' }
  const args = ['-t', 'fuse.ocimount', image, mountpoint, '-o', 'ro,x-test']
  const mounted = spawnSync('mount', args, { env, encoding: 'utf8' })
  t.equal(mounted.status, 0, mounted.stderr)
  t.equal(readFileSync(join(mountpoint, 'etc/motd'), 'utf8'), 'hello\n')
  t.match(mountinfo(mountpoint.replace(' ', '\\040')), / ro,nosuid,nodev/)
  t.equal(spawnSync('umount', [mountpoint], { env }).status, 0)
  t.ok(await becomes(() => readdirSync(fixture.env['OCIMOUNT_RUNTIME_DIR'] ?? '').length === 0))
})

function mountinfo(mountpoint: string): string {
  const lines = readFileSync('/proc/self/mountinfo', 'utf8').split('\n')
  return lines.find((line) => line.includes(` ${mountpoint} `)) ?? ''
}
