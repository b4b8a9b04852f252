// Writable mounts: what is written lands in the upper directory, and the image stays as it is.

import { mkdirSync, readdirSync, readFileSync, statSync } from 'node:fs'
import { join } from 'node:path'
import t from 'tap'
import { mountAt, readMountinfo } from '../../src/mount/mountinfo.js'
import { escapeOverlayPath } from '../../src/mount/overlay.js'
import { mountRootfs } from '../../src/mount/mount.js'
import { contiguous, directory } from '../helpers/erofs-tree.js'
import { eachDriver } from '../helpers/mount-drivers.js'
import { mountsInside, run, scratchDirectory, serve, targetOf } from '../helpers/with-mount.js'

function target(): ReturnType<typeof targetOf> {
  const root = directory(
    {
      etc: directory({ passwd: contiguous(0, 5), group: contiguous(512, 5) }, { uid: 3 }),
      bin: directory({ tool: contiguous(0, 5, { mode: 0o104755 }) }),
    },
    { mode: 0o40751, uid: 1000, gid: 2000, mtimeSeconds: 1_600_000_000 },
  )
  return targetOf(root, [Buffer.alloc(1024, 'a')])
}

const EDIT =
  'cd "$0"; echo new > etc/new; echo more >> etc/passwd; rm etc/group; rm -r bin; mkdir bin'
const LOOK = 'cd "$0"; ls etc bin; cat etc/new etc/passwd; stat -c "%a %u %g %Y" .'

eachDriver(
  t,
  'mountRootfs() writable: changes are seen and vanish with the mount',
  async (t, driver) => {
    const work = scratchDirectory(t)
    const mount = await serve(t, target(), { driver, writable: true, workDirectory: work })
    t.match(mount, { isWritable: true, driver })
    t.match(await run(['stat', '-c', '%a %u %g %Y', mount.mountpoint]), {
      stdout: '751 1000 2000 1600000000\n',
    })
    t.match(await run(['sh', '-ec', EDIT, mount.mountpoint]), { status: 0, stderr: '' })
    t.match(await run(['sh', '-ec', LOOK, mount.mountpoint]), {
      stdout: /^bin:\n\netc:\nnew\npasswd\nnew\naaaaamore\n751 1000 2000 /,
    })
    const entries = await readMountinfo()
    const entry = mountAt(entries, mount.mountpoint)
    t.match(entry, { fsType: 'overlay', source: 'ocimount', device: mount.device })
    t.ok(['rw', 'nosuid', 'nodev'].every((flag) => entry?.options.includes(flag)))
    t.strictSame(
      entries.filter(({ mountpoint }) => mountpoint.startsWith(work)),
      [],
      'lower and scratch are unmounted already',
    )
    t.strictSame(readdirSync(work), [])
    await mount.unmount()
    await mount.finished
  },
)

eachDriver(t, 'mountRootfs() writable: a directory keeps what was written', async (t, driver) => {
  // Every character that means something to mount(8) or to the options of an overlay.
  const kept = join(scratchDirectory(t), 'a,b:c\\d "e" é', 'deep')
  const first = await serve(t, target(), { driver, writable: kept, name: 'm:n,o' })
  t.match(await run(['sh', '-ec', EDIT, first.mountpoint]), { status: 0, stderr: '' })
  await t.rejects(serve(t, target(), { driver, writable: kept }), {
    code: 'MOUNT_BUSY',
    message: /writes to the same directory/,
  })
  await first.unmount()
  await first.finished
  t.equal(readFileSync(join(kept, 'upper/etc/new'), 'utf8'), 'new\n')
  const whiteout = statSync(join(kept, 'upper/etc/group'))
  t.ok(whiteout.isCharacterDevice() && whiteout.rdev === 0)
  const second = await serve(t, target(), { driver, writable: kept })
  t.match(await run(['sh', '-ec', LOOK, second.mountpoint]), {
    stdout: /^bin:\n\netc:\nnew\npasswd\nnew\naaaaamore\n751 1000 2000 /,
  })
})

eachDriver(
  t,
  'mountRootfs() writable: what the kernel would cut short is refused',
  async (t, driver) => {
    const path = scratchDirectory(t)
    const mountpoint = join(path, 'mnt')
    mkdirSync(mountpoint)
    // Each of `upper` and `work` fits into a path, but not both into the page of options that the kernel reads.
    const kept = join(path, ...Array.from({ length: 11 }, () => 'd'.repeat(200)))
    const options = { driver, writable: kept, workDirectory: path }
    await t.rejects(mountRootfs(target(), mountpoint, options), {
      code: 'MOUNT_FAILED',
      message: /^Cannot stack a writable overlay at .*; the path of .* is too long$/,
    })
    t.strictSame(await mountsInside(path), [])
  },
)

eachDriver(
  t,
  'mountRootfs() writable: a directory that no overlay writes to is named',
  async (t, driver) => {
    const other = await serve(t, target(), { driver, writable: true })
    const kept = join(other.mountpoint, 'kept')
    await t.rejects(serve(t, target(), { driver, writable: kept }), {
      code: 'MOUNT_FAILED',
      message: `${kept} may be on a filesystem that no overlay writes to`,
    })
  },
)

eachDriver(t, 'finished resolves when somebody else unmounts the overlay', async (t, driver) => {
  const mount = await serve(t, target(), { driver, writable: true })
  t.match(await run(['umount', mount.mountpoint]), { status: 0 })
  await mount.finished
})

eachDriver(t, 'mountRootfs() writable: a failure leaves nothing behind', async (t, driver) => {
  const path = scratchDirectory(t)
  const mountpoint = join(path, 'mnt')
  mkdirSync(mountpoint)
  const options = { driver, writable: '/proc/none', workDirectory: path }
  await t.rejects(mountRootfs(target(), mountpoint, options), { code: 'MOUNT_FAILED' })
  t.strictSame(await mountsInside(path), [])
  t.strictSame(readdirSync(path), ['mnt'])
})

eachDriver(
  t,
  'mountRootfs() writable works as root of a user namespace',
  async (t, driver) => {
    const path = scratchDirectory(t)
    const server = new URL('../helpers/serve-and-wait.js', import.meta.url).pathname
    const script =
      'mkdir "$0/mnt"; touch "$0/said"; "$1" "$2" "$0/mnt" state writable "$3" > "$0/said" & until grep -q ready "$0/said"; do sleep 0.05; done; rm "$0/mnt/file"; echo x > "$0/mnt/new"; ls "$0/mnt"; umount "$0/mnt"; wait'
    const unshare = ['unshare', '-Urm', '--propagation', 'slave']
    const inside = [...unshare, 'sh', '-ec', script, path, process.execPath, server, driver]
    process.env['OCIMOUNT_RUNTIME_DIR'] = join(path, 'state')
    t.match(await run(inside), { status: 0, stdout: 'new\n', stderr: '' })
  },
  { kernel: 'it needs the initial user namespace' },
)

t.test('escapeOverlayPath() escapes what separates', async (t) => {
  t.equal(escapeOverlayPath('/a,b:c\\d e'), '/a\\,b\\:c\\\\d e')
})
