// Whole trees, through the kernel: what was given to the writer is what a program sees.

import t from 'tap'
import type { ErofsNode } from '../../src/erofs/node.js'
import { mountAt, readMountinfo } from '../../src/mount/mountinfo.js'
import { snapshotMount } from '../helpers/erofs-kernel.js'
import {
  contiguous,
  diffSnapshots,
  directory,
  file,
  name,
  node,
  snapshotImage,
  symlink,
  xattrs,
} from '../helpers/erofs-tree.js'
import { randomTree } from '../helpers/random-erofs-tree.js'
import { SeededRandom } from '../helpers/seeded-random.js'
import { eachDriver } from '../helpers/mount-drivers.js'
import { python, run, serve, targetOf } from '../helpers/with-mount.js'

const SEED = Number(process.env['OCIMOUNT_TEST_SEED'] ?? 20_260_102)
const random = new SeededRandom(SEED)
const CONTENTS = [random.bytes(600_064), random.bytes(70_144)]

function everyKind(): ErofsNode {
  const linked = contiguous(512, 70_000, { xattrs: xattrs({ 'user.a': 'x', 'user.empty': '' }) })
  return directory(
    {
      linked,
      again: linked,
      empty: file(0),
      one: contiguous(1024, 1, { mode: 0o104755, uid: 70_000, gid: 4_294_967_294 }),
      holes: file(300_000, [
        { fileOffset: 65_536, device: 1, deviceOffset: 0, length: 65_536 },
        { fileOffset: 196_608, device: 0, deviceOffset: 8192, length: 65_536 },
      ]),
      link: symlink('etc/../one'),
      'long-link': symlink('x'.repeat(4095)),
      char: node(0o20666, { devMajor: 1, devMinor: 3 }),
      block: node(0o60600, { devMajor: 259, devMinor: 70_000 }),
      fifo: node(0o10600),
      socket: node(0o140755),
      'line\nfeed \t"\\': contiguous(0, 10),
      [Buffer.from('größe 漢字 😀').toString('latin1')]: directory({
        inner: contiguous(0, 600_000),
      }),
      ['n'.repeat(255)]: directory({ deep: directory({ deeper: directory({}) }) }),
      old: file(0, [], { mtimeSeconds: -5 }),
      late: file(0, [], { mtimeSeconds: 2 ** 33, mtimeNanoseconds: 123_456_789 }),
      secret: directory({ inside: file(0) }, { mode: 0o40000 }),
    },
    { mode: 0o41777, mtimeNanoseconds: 999_999_999 },
  )
}

eachDriver(t, 'mount() shows every kind of inode as the image has it', async (t, driver, known) => {
  const target = targetOf(everyKind(), CONTENTS)
  const { mountpoint } = await serve(t, target, { driver })
  const seen = await snapshotMount(mountpoint)
  t.strictSame(diffSnapshots(seen, known.asShown(snapshotImage(target.image, CONTENTS))), [])
})

eachDriver(t, `mount() shows random trees as they are (seed ${SEED})`, async (t, driver, known) => {
  for (let round = 0; round < 4; round++) {
    const root = randomTree(random, CONTENTS)
    if (driver === 'fuse-native') makeTargetsText(root)
    const target = targetOf(root, CONTENTS)
    const mount = await serve(t, target, { driver })
    const seen = await snapshotMount(mount.mountpoint)
    const want = known.asShown(snapshotImage(target.image, CONTENTS))
    t.strictSame(diffSnapshots(seen, want), [], `round ${round}`)
  }
})

eachDriver(t, 'mount() lists a directory of 20,000 entries', async (t, driver) => {
  const names = Array.from({ length: 20_000 }, (_, index) => `entry-${index}`)
  const child = file(0)
  const target = targetOf(
    directory({ big: directory(Object.fromEntries(names.map((n) => [n, child]))) }),
  )
  const { mountpoint } = await serve(t, target, { driver })
  const script =
    'import json,os,sys; print(json.dumps(sorted((e.name, e.is_file(follow_symlinks=False), e.inode()) for e in os.scandir(sys.argv[1]))))'
  const nid = target.image.lookup(
    target.image.lookup(target.image.rootNid, name('big'))!,
    name('entry-7'),
  )
  t.strictSame(
    await python(script, `${mountpoint}/big`),
    names.sort().map((entry) => [entry, true, nid]),
  )
})

eachDriver(t, 'mount() tells the size of the image', async (t, driver) => {
  const target = targetOf(everyKind(), CONTENTS)
  const { mountpoint } = await serve(t, target, { driver })
  const script =
    'import json,os,sys; s = os.statvfs(sys.argv[1]); print(json.dumps([s.f_bsize, s.f_frsize, s.f_blocks, s.f_bfree, s.f_bavail, s.f_files, s.f_ffree, s.f_namemax]))'
  const bytes = target.image.size + 600_064 + 70_144
  const files = target.image.inodeCount
  // EROFS counts in its own blocks, and tells of inodes only how many are not free.
  const want =
    driver === 'kernel'
      ? [512, 512, bytes / 512, 0, 0, -1, -1 - files, 255]
      : [4096, 4096, Math.ceil(bytes / 4096), 0, 0, files, 0, 255]
  t.strictSame(await python(script, mountpoint), want)
})

eachDriver(
  t,
  'mount() asks the kernel for the flags that were wanted',
  async (t, driver, known) => {
    const cases = [
      { options: {}, want: ['ro', 'nosuid', 'nodev'], unwanted: ['noexec'] },
      {
        options: { suid: true, dev: true, noexec: true },
        want: ['ro', 'noexec'],
        unwanted: ['nosuid', 'nodev'],
      },
    ]
    for (const { options, want, unwanted } of cases) {
      const mount = await serve(t, targetOf(directory({})), {
        ...options,
        driver,
        fsName: 'a b,c\\d:é',
      })
      const entry = mountAt(await readMountinfo(), mount.mountpoint)
      t.match(entry, { fsType: known.fsType, device: mount.device })
      t.match(
        entry?.source,
        driver === 'kernel'
          ? /\/ocimount:a_b_c_d:_$/
          : driver === 'fuse'
            ? 'a b,c\\d:é'
            : 'a_b_c_d:_',
      )
      t.ok(want.every((flag) => entry?.options.includes(flag)))
      t.notOk(unwanted.some((flag) => entry?.options.includes(flag)))
      if (driver !== 'kernel') t.match(entry?.superOptions, /default_permissions,allow_other/)
    }
  },
)

eachDriver(t, 'mount() lets other users in as the modes say', async (t, driver) => {
  const root = directory({ open: contiguous(0, 5), closed: contiguous(0, 5, { mode: 0o100600 }) })
  const { mountpoint } = await serve(t, targetOf(root, [Buffer.alloc(512, 'a')]), { driver })
  await run(['chmod', '755', `${mountpoint}/..`])
  const nobody = ['setpriv', '--reuid', '65534', '--regid', '65534', '--clear-groups']
  t.match(await run([...nobody, 'cat', `${mountpoint}/open`]), { status: 0, stdout: 'aaaaa' })
  t.match(await run([...nobody, 'cat', `${mountpoint}/closed`]), { status: 1, stderr: /denied/ })
})

function makeTargetsText(root: ErofsNode): void {
  const pending = [root]
  for (let item = pending.pop(); item !== undefined; item = pending.pop()) {
    if (item.target !== undefined) item.target = name(item.target.replace(/[\x80-\xff]/g, '~'))
    pending.push(...(item.children?.values() ?? []))
  }
}
