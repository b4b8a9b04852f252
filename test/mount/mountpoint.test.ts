import { mkdirSync, symlinkSync, writeFileSync } from 'node:fs'
import { join, relative } from 'node:path'
import t from 'tap'
import { readMountinfo } from '../../src/mount/mountinfo.js'
import { checkMountpoint, locateMountpoint } from '../../src/mount/mountpoint.js'
import { unmountPath } from '../../src/mount/unmount.js'
import { directory } from '../helpers/erofs-tree.js'
import { rootSkipReason, run, scratchDirectory, serve, targetOf } from '../helpers/with-mount.js'

const skip = rootSkipReason()

t.test('checkMountpoint() gives the canonical path', async (t) => {
  const path = scratchDirectory(t)
  const real = join(path, 'réal, dir')
  mkdirSync(real)
  writeFileSync(join(real, 'not empty'), '')
  symlinkSync(real, join(path, 'link'))
  t.equal(await checkMountpoint(real), real)
  t.equal(await checkMountpoint(join(path, 'link')), real)
  t.equal(await checkMountpoint(`${real}/../link/.`), real)
  t.equal(await checkMountpoint(relative(process.cwd(), real)), real)
})

t.test('checkMountpoint() says what is wrong with a path', async (t) => {
  const path = scratchDirectory(t)
  writeFileSync(join(path, 'file'), '')
  symlinkSync('nowhere', join(path, 'dangling'))
  symlinkSync('loop', join(path, 'loop'))
  const deep = join(path, ...Array.from({ length: 5 }, () => 'd'.repeat(250)))
  mkdirSync(deep, { recursive: true })
  const cases: [string, RegExp][] = [
    ['', /empty/],
    [join(path, 'none'), /does not exist; create/],
    [join(path, 'dangling'), /does not exist/],
    [join(path, 'file'), /not a directory/],
    [join(path, 'file', 'below'), /not a directory/],
    [join(path, 'loop'), /ELOOP/],
    [join(path, 'nul\0'), /null bytes/],
    [deep, /longer than 1023 bytes/],
  ]
  for (const [mountpoint, message] of cases) {
    await t.rejects(checkMountpoint(mountpoint), { code: 'MOUNTPOINT_INVALID', message })
  }
  await t.rejects(checkMountpoint('/'), { code: 'MOUNT_BUSY', message: /already a mount point/ })
  await t.rejects(checkMountpoint('/proc'), { code: 'MOUNT_BUSY', message: /\(proc\)/ })
})

t.test('checkMountpoint() names what is mounted there, through links too', { skip }, async (t) => {
  const { mountpoint } = await serve(t, targetOf(directory({})))
  const link = join(scratchDirectory(t), 'link')
  symlinkSync(mountpoint, link)
  for (const path of [mountpoint, link, `${mountpoint}/.`]) {
    await t.rejects(checkMountpoint(path), {
      code: 'MOUNT_BUSY',
      message: /already mounted there; unmount it with: ocimount umount/,
    })
  }
  t.equal(await locateMountpoint(link, await readMountinfo()), mountpoint)
})

t.test('unmountPath() takes a path as the user writes it', { skip }, async (t) => {
  const mount = await serve(t, targetOf(directory({})))
  const link = join(scratchDirectory(t), 'link')
  symlinkSync(join(mount.mountpoint, '..'), link)
  await unmountPath(relative(process.cwd(), `${link}/mnt/`))
  await mount.finished
})

t.test('unmountPath() leaves alone what is not ours', { skip }, async (t) => {
  const path = scratchDirectory(t)
  await t.rejects(unmountPath(path), { code: 'NOT_MOUNTED', message: /nothing is mounted/ })
  await t.rejects(unmountPath(join(path, 'none')), { code: 'NOT_MOUNTED' })
  t.match(await run(['mount', '-t', 'tmpfs', 'ocimount', path]), { status: 0 })
  await t.rejects(unmountPath(path), { code: 'NOT_MOUNTED', message: /\(tmpfs\) is not ours/ })
})
