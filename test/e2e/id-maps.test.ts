// Containers with ids of their own: an image's files belong to other users outside than inside, with every driver that can.

import { chmodSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import t from 'tap'
import { buildImage } from '../helpers/build-image.js'
import * as tar from '../helpers/build-tar.js'
import { becomes, leavesNothing, processesOf, refuses } from '../helpers/cli-checks.js'
import { cliFixture, type CliFixture } from '../helpers/cli-fixture.js'
import { missingTool } from '../helpers/list-tar.js'
import { addonSkipReason } from '../helpers/native-addon.js'
import { eachDriver } from '../helpers/mount-drivers.js'
import { RUNTIME_CASES, runsElsewhere } from '../helpers/runtimes.js'
import { run, rootSkipReason } from '../helpers/with-mount.js'
import { writeImage } from '../helpers/write-image.js'

// Nothing below is of use to who has the file run elsewhere.
if (await runsElsewhere(t, import.meta.url)) process.exit()

const noBusybox = missingTool('busybox', 'true')
const runtimes = RUNTIME_CASES.filter(({ skip }) => skip === false).map(({ name }) => name)
const noRuntime = runtimes.length === 0 && 'no runtime works here'
const noAddon = addonSkipReason()
const MAPS = ['--uid-map', '0:100000:65536', '--gid-map', '0:200000:65536']
const CANNOT = { 'fuse-native': 'libfuse 2 lets nobody shift owners' }
/** `struct vfs_cap_data` of linux/capability.h: revision 2, effective, CAP_NET_BIND_SERVICE permitted. */
const CAPABLE = Buffer.from('0100000200040000000000000000000000000000', 'hex')

function writeExample({ dir }: CliFixture): string {
  const busybox = readFileSync('/bin/busybox')
  const layer = tar.buildTar([
    tar.dir('./', { mode: 0o755 }),
    tar.dir('bin/', { mode: 0o755 }),
    tar.file('bin/busybox', busybox, { mode: 0o755 }),
    tar.symlink('bin/sh', 'busybox'),
    tar.file('bin/busybox-suid', busybox, { mode: 0o4755 }),
    tar.file('bin/busybox-bound', busybox, {
      mode: 0o755,
      xattrs: { 'security.capability': CAPABLE },
    }),
    tar.dir('home/', { mode: 0o700, uid: 1000, gid: 1001 }),
    tar.file('home/own', 'x', { mode: 0o600, uid: 1000, gid: 1001 }),
    tar.file('far', 'x', { mode: 0o644, uid: 70_000, gid: 70_000 }),
  ])
  const image = buildImage({ tags: ['example/ids:latest'], layers: [layer] })
  // runc walks to the rootfs as root of the container.
  chmodSync(dir, 0o711)
  return writeImage(join(dir, 'ids.tar'), [image], { form: 'docker-25' })
}

eachDriver(
  t,
  'a bundle with maps shows other owners outside than inside',
  async (t, driver) => {
    t.equal(noBusybox, false)
    const fixture = cliFixture(t)
    const image = writeExample(fixture)
    for (const [name, options] of [
      ['written', []],
      ['read-only', ['--read-only']],
    ] as const) {
      const bundle = join(fixture.dir, name)
      const args = ['bundle', '-q', '--driver', driver, ...MAPS, ...options, image, bundle]
      t.match(await fixture.ocimount([...args, '--', 'true']), {
        status: 0,
        stdout: '',
        stderr: '',
      })
      const look =
        'cd "$0"; stat -c "%n %u %g %a" . rootfs/bin/busybox-suid rootfs/home rootfs/home/own rootfs/far'
      t.match(await run(['sh', '-c', look, bundle]), {
        stdout:
          '. 0 200000 710\nrootfs/bin/busybox-suid 100000 200000 4755\nrootfs/home 101000 201001 700\n' +
          'rootfs/home/own 101000 201001 600\nrootfs/far 65534 65534 644\n',
      })
      t.match(await fixture.ocimount(['umount', '--purge', bundle]), { status: 0 })
    }
    await leavesNothing(t, fixture)
  },
  CANNOT,
)

eachDriver(
  t,
  'a container with maps has its files, its rights and nothing beyond',
  async (t, driver) => {
    t.equal(noBusybox || noRuntime, false)
    const fixture = cliFixture(t)
    const image = writeExample(fixture)
    const plain = join(fixture.dir, 'plain')
    const args = ['bundle', '-q', '--driver', driver, image, plain, '--', 'true']
    t.match(await fixture.ocimount(args), { status: 0, stderr: '' })
    const script = `
      cat /proc/self/uid_map; id -u; stat -c '%n %u %g' /home /home/own /far
      echo more >>/home/own; chown 5:6 /bin/busybox-bound && stat -c '%n %u %g' /bin/busybox-bound; touch /new
      ln -s own /home/link; cat /home/link; chown 3 /far || echo refused`
    for (const runtime of runtimes) {
      const bundle = join(fixture.dir, runtime)
      const make = ['bundle', '-q', '--driver', driver, ...MAPS, image, bundle, '--']
      const made = await fixture.ocimount([...make, 'sh', '-c', script])
      t.match(made, { status: 0, stderr: '' })
      // The process that found the server ends a moment after it has answered.
      const isOne = await becomes(() => processesOf(fixture).length === 1)
      t.ok(isOne, 'with and without maps one server is behind it')
      const inside = await run([runtime, 'run', '-b', bundle, `maps-${process.pid}`])
      t.match(inside, { status: 0, stderr: /Operation not permitted|Value too large/ })
      t.equal(
        inside.stdout.replace(/ +/g, ' '),
        ' 0 100000 65536\n0\n/home 1000 1001\n/home/own 1000 1001\n/far 65534 65534\n/bin/busybox-bound 5 6\nxmore\nrefused\n',
      )
      const look = 'cd "$0"; stat -c "%n %u %g" home/own home/link bin/busybox-bound new'
      t.match(await run(['sh', '-c', look, join(bundle, 'upper')]), {
        stdout:
          'home/own 101000 201001\nhome/link 100000 200000\nbin/busybox-bound 100005 200006\nnew 100000 200000\n',
      })
      await fixture.ocimount(['umount', '--purge', bundle])
    }
    t.match(await run(['stat', '-c', '%u %s', join(plain, 'rootfs/home/own')]), {
      stdout: '1000 1\n',
    })
    await fixture.ocimount(['umount', '--purge', plain])
    await leavesNothing(t, fixture)
  },
  noRuntime === false ? CANNOT : { kernel: noRuntime, fuse: noRuntime, 'fuse-native': noRuntime },
)

t.test(
  'setuid bits and file capabilities count inside alone',
  { skip: noRuntime || noBusybox || noAddon },
  async (t) => {
    const fixture = cliFixture(t)
    const image = writeExample(fixture)
    const bundle = join(fixture.dir, 'bundle')
    const script =
      'busybox ping -c 1 127.1 >/dev/null 2>&1; echo $?; busybox-suid ping -c 1 127.1 >/dev/null; echo $?;' +
      'busybox-bound grep CapEff /proc/self/status; cat /home/own'
    const profile = ['--profile', 'docker', '--seccomp', 'none', '-u', '1000:5']
    const make = ['bundle', '-q', ...MAPS, ...profile, image, bundle, '--', 'sh', '-c', script]
    t.match(await fixture.ocimount(make), { status: 0, stderr: '' })
    for (const runtime of runtimes) {
      t.match(await run([runtime, 'run', '-b', bundle, `suid-${process.pid}`]), {
        status: 0,
        stdout: '1\n0\nCapEff:\t0000000000000400\nx',
      })
    }
    chmodSync(bundle, 0o711)
    // Root of the container is nobody special here.
    const outside = ['setpriv', '--reuid', '4000', '--regid', '4000', '--clear-groups']
    const ping = [join(bundle, 'rootfs/bin/busybox-suid'), 'ping', '-c', '1', '127.1']
    t.match(await run([...outside, ...ping]), { status: 1, stderr: /permission denied/ })
    await fixture.ocimount(['umount', '--purge', bundle])
    await leavesNothing(t, fixture)
  },
)

t.test('maps that cannot be are one line', { skip: rootSkipReason() || noBusybox }, async (t) => {
  const fixture = cliFixture(t)
  const image = writeExample(fixture)
  const bundle = join(fixture.dir, 'bundle')
  const rootless = ['bundle', '--uid-map', '1:100000:65536', image, bundle, '--', 'true']
  await refuses(t, fixture, rootless, { status: 2, why: /without 0, its root/ })
  const portable = ['bundle', '--driver', 'fuse-native', ...MAPS, image, bundle, '--', 'true']
  const why =
    noAddon === false ? /cannot shift the owners/ : /without the addon owners of files cannot be/
  await refuses(t, fixture, portable, { status: 6, why })
  await leavesNothing(t, fixture)
})

const skipClosed = rootSkipReason() || noBusybox || noAddon
t.test('a bundle out of reach of the root inside is told', { skip: skipClosed }, async (t) => {
  const fixture = cliFixture(t)
  const image = writeExample(fixture)
  const closed = join(fixture.mountpoint('closed'), 'bundle')
  chmodSync(join(closed, '..'), 0o700)
  const made = await fixture.ocimount(['bundle', ...MAPS, image, closed, '--', 'true'])
  t.match(made, {
    status: 0,
    stderr: /warning: root of the container, user 100000 here, may not pass/,
  })
  await fixture.ocimount(['umount', '--purge', closed])
  await leavesNothing(t, fixture)
})
