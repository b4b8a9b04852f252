// The single calls: locks, holes, mounts that cannot be; and the door itself.

import { execFileSync } from 'node:child_process'
import { closeSync, fstatSync, openSync, readFileSync, writeSync } from 'node:fs'
import { constants } from 'node:os'
import { join } from 'node:path'
import t from 'tap'
import { addon, addonSkipReason, fixtureDirectory, openFixture } from '../helpers/native-addon.js'
import { rootSkipReason } from '../helpers/with-mount.js'

const skip = addonSkipReason()
const FLAGS = { suid: false, dev: false, noexec: false }

t.test('the addon can be switched off', async (t) => {
  const door = new URL('../../src/native.js', import.meta.url).href
  const script = `import(${JSON.stringify(door)}).then((native) => {
    console.log(native.loadNative(), native.nativeUnavailableReason())
  })`
  const env = { ...process.env, OCIMOUNT_NATIVE: '0' }
  const said = execFileSync(process.execPath, ['-e', script], { env, encoding: 'utf8' })
  t.equal(said, 'undefined switched off by OCIMOUNT_NATIVE\n')
})

t.test('locks are between open files', { skip }, async (t) => {
  const { lockFile } = addon()
  const path = join(fixtureDirectory(t), 'lock')
  const one = openSync(path, 'w+')
  const other = openSync(path, 'r+')
  t.teardown(() => {
    closeSync(one)
    closeSync(other)
  })
  t.ok(lockFile(one, 'write', 0, 0))
  t.notOk(lockFile(other, 'read', 0, 0))
  t.ok(lockFile(one, 'read', 0, 0), 'changed')
  t.ok(lockFile(other, 'read', 0, 0))
  t.notOk(lockFile(one, 'write', 0, 0))
  t.ok(lockFile(one, 'none', 0, 0))
  t.ok(lockFile(other, 'write', 0, 0))
  t.ok(lockFile(other, 'read', 0, 0))
  t.ok(lockFile(other, 'none', 5, 2), 'in parts')
  t.notOk(lockFile(one, 'write', 4, 2))
  t.ok(lockFile(one, 'write', 5, 2))
  t.notOk(lockFile(other, 'read', 6, 0))
  t.ok(lockFile(other, 'read', 7, 0))
  t.throws(() => lockFile(one, 'read', -1, 0), /offset/)
  t.throws(() => lockFile(one, 'all' as never, 0, 0), /kind/)
  t.throws(() => lockFile(999_999, 'read', 0, 0), { code: 'EBADF', syscall: 'fcntl' })
})

t.test('holes', { skip }, async (t) => {
  const { punchHole } = addon()
  const fd = openFixture(t, Buffer.alloc(1 << 20, 1), 'r+')
  writeSync(fd, Buffer.alloc(4096, 1), 0, 4096, 0)
  const before = fstatSync(fd).blocks
  punchHole(fd, 4096, 8 * 4096)
  t.ok(fstatSync(fd).blocks < before)
  const want = Buffer.alloc(1 << 20, 1).fill(0, 4096, 9 * 4096)
  t.ok(readFileSync(`/proc/self/fd/${fd}`).equals(want))
  t.throws(() => {
    punchHole(fd, -1, 1)
  }, /offset/)
  t.throws(
    () => {
      punchHole(fd, 2 ** 53 - 1, 0)
    },
    { code: 'EINVAL', errno: -constants.errno.EINVAL, syscall: 'fallocate' },
  )
})

t.test('mounts that cannot be', { skip: skip || rootSkipReason() }, async (t) => {
  const { mountFuse, mountErofs, openFuseDevice } = addon()
  const mountpoint = join(fixtureDirectory(t), 'missing')
  const fd = openFuseDevice()
  t.teardown(() => {
    closeSync(fd)
  })
  t.match(readFileSync(`/proc/self/fdinfo/${fd}`, 'latin1'), /flags:\t0[0-7]*2[0-7]{6}\n/)
  const place = { mountpoint, fsName: 'x'.repeat(100_000), allowOther: true, flags: FLAGS }
  await t.rejects(mountFuse({ fuseFd: fd, ...place }), { code: 'ENOENT', syscall: 'mount' })
  await t.rejects(mountFuse({ fuseFd: 0, ...place }), { code: 'ENOENT', syscall: 'mount' })
  await t.rejects(async () => mountFuse({ fuseFd: fd, ...place, mountpoint: 'a\0b' }), /mountpoint/)
  const erofs = { fuseFd: 0, deviceCount: 1, readAheadKib: 0, mountpoint, flags: FLAGS }
  await t.rejects(mountErofs({ ...erofs, sourceLink: '/nowhere/x' }), {
    code: 'EINVAL',
    syscall: 'fsconfig',
    step: 'make the FUSE superblock',
  })
})
