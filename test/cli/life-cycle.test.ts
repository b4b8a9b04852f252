// What becomes of mounts: umount, list, status, the cache that they use, and servers that were killed or stopped.

import { spawn, type ChildProcess } from 'node:child_process'
import { once } from 'node:events'
import { existsSync, readdirSync, readFileSync, readlinkSync } from 'node:fs'
import { join } from 'node:path'
import t, { type Test } from 'tap'
import { becomes, leavesNothing, refuses } from '../helpers/cli-checks.js'
import { cliFixture, type CliFixture } from '../helpers/cli-fixture.js'
import { testedDrivers } from '../helpers/drivers.js'
import { spawnCli } from '../helpers/run-cli.js'
import { rootSkipReason } from '../helpers/with-mount.js'
import { HOSTILE, HOSTILE_SHOWN, writeSample } from './sample-image.js'

const skip = rootSkipReason()

interface Mounted {
  readonly mountpoint: string
  readonly pid: number
}

/** Mounts the image and gives where, and who serves it. */
async function mount(
  t: Test,
  fixture: CliFixture,
  { image, name = 'rootfs', args = [] }: { image: string; name?: string; args?: readonly string[] },
): Promise<Mounted> {
  const mountpoint = fixture.mountpoint(name)
  const { status, stdout, stderr } = await fixture.ocimount(['--json', ...args, image, mountpoint])
  t.equal(status, 0, stderr)
  return { mountpoint, pid: (JSON.parse(stdout) as { pid: number }).pid }
}

/** Kills a server without a chance to clean up, and waits until it is gone. */
async function kill({ pid }: Mounted): Promise<void> {
  process.kill(pid, 'SIGKILL')
  await becomes(() => !existsSync(`/proc/${pid}`))
}

t.test('umount of what is busy is exit status 6, and -l detaches it', { skip }, async (t) => {
  const fixture = cliFixture(t)
  const { mountpoint, pid } = await mount(t, fixture, { image: writeSample(fixture.dir) })
  const inside = spawn('sleep', ['60'], { cwd: mountpoint, stdio: 'ignore' })
  const why = /it is in use; end the programs that use it, or detach it with --lazy/
  await refuses(t, fixture, ['umount', mountpoint], { status: 6, why })
  t.ok(existsSync(join(mountpoint, 'etc')), 'it still works')
  const lazily = await fixture.ocimount(['umount', '-l', mountpoint])
  t.match(lazily, { status: 0, stdout: '', stderr: '' })
  t.strictSame(fixture.mounts(), [])
  t.equal(
    readFileSync(`/proc/${inside.pid ?? 0}/cwd/etc/motd`, 'utf8'),
    'hello\n',
    'to who is inside',
  )
  inside.kill()
  t.ok(await becomes(() => !existsSync(`/proc/${pid}`)), 'the server goes when they leave')
  await leavesNothing(t, fixture)
})

t.test('a server keeps no standard input that is not for it', { skip }, async (t) => {
  const fixture = cliFixture(t)
  const [image, bundle] = [writeSample(fixture.dir), join(fixture.dir, 'bundle')]
  const made = await fixture.ocimount(['bundle', '-u', '0', image, bundle, '--', 'cat', '-'])
  t.equal(made.status, 0, made.stderr)
  const list = JSON.parse((await fixture.ocimount(['--json', 'list'])).stdout) as { pid: number }[]
  t.equal(list.length, 1)
  t.equal(readlinkSync(`/proc/${list[0]?.pid ?? 0}/fd/0`), '/dev/null')
  t.match(await fixture.ocimount(['umount', bundle]), { status: 0 })
  await leavesNothing(t, fixture)
})

t.test('what is not mounted, or not ours, is left alone', { skip }, async (t) => {
  const fixture = cliFixture(t)
  const plain = fixture.mountpoint()
  const nothing = { status: 6, why: /nothing is mounted there/ }
  await refuses(t, fixture, ['umount', plain], nothing)
  await refuses(t, fixture, ['umount', join(fixture.dir, 'none')], nothing)
  await refuses(t, fixture, ['umount', '/proc'], { status: 6, why: /\(proc\) is not ours/ })
  await refuses(t, fixture, ['status', plain], { status: 6, why: /no image is mounted there/ })
  const list = await fixture.ocimount(['list'])
  t.match(list, { status: 0, stdout: '', stderr: '' })
  t.equal((await fixture.ocimount(['--json', 'list'])).stdout, '[]\n')
})

t.test('list and status show every mount, hostile paths escaped', { skip }, async (t) => {
  const fixture = cliFixture(t)
  const image = writeSample(fixture.dir)
  // The driver that cannot show everything, so that there is something to tell.
  const first = await mount(t, fixture, { image, args: ['--driver=fuse-native'] })
  const evil = await mount(t, fixture, { image, name: `at${HOSTILE}`, args: ['--writable'] })
  const list = (await fixture.ocimount(['list'])).stdout.trimEnd().split('\n')
  t.match(list, [
    /^mount point +image +driver +state +verification +pid$/,
    new RegExp(`^${first.mountpoint} .*example/app:latest +fuse-native +ready .* ${first.pid}$`),
    / \+ overlay/,
  ])
  t.ok(list[2]?.startsWith(`${fixture.dir}/at${HOSTILE_SHOWN} `))
  t.equal(list.length, 3)
  const rows = JSON.parse((await fixture.ocimount(['list', '--json'])).stdout) as Mounted[]
  t.strictSame(
    rows.map(({ mountpoint }) => mountpoint),
    [first.mountpoint, evil.mountpoint],
  )
  const one = await fixture.ocimount(['status', first.mountpoint])
  t.match(one.stdout, /^Image: +(docker.io\/)?example\/app:latest$/m)
  t.match(one.stdout, /^Not shown: +\/latin-\\xe9: /m)
  t.match(one.stdout, /^Layer 1: +sha256:/m)
  const both = await fixture.ocimount(['status', '--json'])
  t.match(JSON.parse(both.stdout), [{ pid: first.pid }, { pid: evil.pid, isWritable: true }])
  for (const { mountpoint } of [first, evil]) {
    t.equal((await fixture.ocimount(['umount', mountpoint])).status, 0)
  }
  await leavesNothing(t, fixture)
})

t.test('after kill -9 of the server list, umount and status clean up', { skip }, async (t) => {
  const fixture = cliFixture(t)
  const image = writeSample(fixture.dir)
  const cleanUps: readonly (readonly [command: string, status: number])[] = [
    ['list', 0],
    ['umount', 0],
    ['status', 6],
  ]
  for (const [command, status] of cleanUps) {
    const mounted = await mount(t, fixture, {
      image,
      args: command === 'list' ? ['--writable'] : [],
    })
    await kill(mounted)
    t.equal(fixture.mounts().length, 1, 'the kernel still has it')
    const args = command === 'list' ? [] : [mounted.mountpoint]
    const result = await fixture.ocimount([command, ...args])
    t.match(result, { status, stdout: '' }, command)
    t.strictSame(fixture.mounts(), [], command)
    t.strictSame(readdirSync(fixture.env['OCIMOUNT_RUNTIME_DIR'] ?? ''), [])
  }
  // What the dead needed of the cache is forgotten when somebody looks.
  await fixture.ocimount(['cache', 'prune', '-q', '--max-size', '1T'])
  await leavesNothing(t, fixture)
})

t.test('a server that does not answer is told, and detached without it', { skip }, async (t) => {
  const fixture = cliFixture(t)
  const image = writeSample(fixture.dir)
  const drivers = (await testedDrivers()).filter((driver) => driver.skip === false)
  // At once, since each command waits for an answer first.
  await Promise.all(
    drivers.map(async ({ name: driver }) => {
      const args = ['--driver', driver]
      const { mountpoint, pid } = await mount(t, fixture, { image, name: driver, args })
      const other = await mount(t, fixture, { image, name: `${driver}-2`, args })
      t.equal(other.pid, pid, 'both have one server')
      process.kill(pid, 'SIGSTOP')
      const waiting = spawnCli(['umount', other.mountpoint], { env: fixture.env })
      try {
        const [status, lazily, said] = await Promise.all([
          fixture.ocimount(['status', mountpoint], { timeoutMs: 60_000 }),
          fixture.ocimount(['umount', '-l', mountpoint], { timeoutMs: 60_000 }),
          firstLine(waiting),
        ])
        t.match(status, { status: 0, stdout: /^State: +ready, does not answer$/m }, driver)
        t.match(lazily, { status: 0, stdout: '', stderr: '' }, driver)
        t.strictSame(
          fixture.mounts().filter((path) => path === mountpoint),
          [],
        )
        t.match(said, new RegExp(`^ocimount: waiting for .* ${pid}, .*umount -l .*\\n$`))
      } finally {
        process.kill(pid, 'SIGCONT')
      }
      const [ended] = (await once(waiting, 'exit')) as [number]
      t.equal(ended, 0, 'it is unmounted when the server runs again')
      t.ok(await becomes(() => !existsSync(`/proc/${pid}`)), 'which ends then')
    }),
  )
})

/** What a command says first on standard error. */
async function firstLine(child: ChildProcess): Promise<string> {
  const chunks: string[] = []
  for await (const chunk of child.stderr ?? []) {
    chunks.push(String(chunk))
    if (String(chunk).includes('\n')) break
  }
  return chunks.join('')
}

t.test('cache du, verify and prune leave what a mount uses', { skip }, async (t) => {
  const fixture = cliFixture(t)
  const { mountpoint } = await mount(t, fixture, {
    image: writeSample(fixture.dir),
    args: ['--verify', 'before'],
  })
  const kinds = async (): Promise<Record<string, { entries: number }>> => {
    const { stdout } = await fixture.ocimount(['cache', 'du', '--json'])
    return (JSON.parse(stdout) as { kinds: Record<string, { entries: number }> }).kinds
  }
  const before = await kinds()
  t.match(before, { layer: { entries: 2 }, rootfs: { entries: 1 } })
  const du = await fixture.ocimount(['cache', 'du'])
  t.match(du.stdout, /^kind +entries +space$/m)
  t.match(du.stdout, /^total \d/m)
  const verify = await fixture.ocimount(['cache', 'verify'])
  t.match(verify, { status: 0, stdout: '', stderr: /entries, .* hashed, 0 bad\n$/ })
  const used = await fixture.ocimount(['cache', 'prune', '--max-size', '0'])
  t.match(used, { status: 0, stderr: /entries removed, .* kept because they are in use\n$/ })
  t.match(await kinds(), { layer: { entries: 2 }, rootfs: { entries: 1 } }, 'in use')
  t.equal(readFileSync(join(mountpoint, 'etc/motd'), 'utf8'), 'hello\n')
  t.equal((await fixture.ocimount(['umount', mountpoint])).status, 0)
  const free = await fixture.ocimount(['cache', 'prune', '--max-size', '0', '--json'])
  t.match(JSON.parse(free.stdout), { remainingBytes: 0, inUse: [] })
  const after = Object.values(await kinds()).map(({ entries }) => entries)
  t.ok(after.every((entries) => entries === 0))
  await leavesNothing(t, fixture)
})
