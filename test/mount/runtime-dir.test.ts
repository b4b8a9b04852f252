import { chmodSync, lstatSync, mkdirSync, symlinkSync } from 'node:fs'
import { join } from 'node:path'
import t from 'tap'
import {
  existingRuntimeDirs,
  openRuntimeDir,
  runtimeDirCandidates,
} from '../../src/mount/runtime-dir.js'

const uid = process.geteuid!()

t.test('runtimeDirCandidates() follows DESIGN section 5', async (t) => {
  const xdg = { XDG_RUNTIME_DIR: '/run/user/7' }
  const cases = [
    { env: {}, uid: 0, want: ['/run/ocimount', '/tmp/ocimount-0'] },
    { env: xdg, uid: 0, want: ['/run/ocimount', '/run/user/7/ocimount', '/tmp/ocimount-0'] },
    { env: xdg, uid: 7, want: ['/run/user/7/ocimount', '/tmp/ocimount-7'] },
    { env: { XDG_RUNTIME_DIR: 'relative' }, uid: 7, want: ['/tmp/ocimount-7'] },
    { env: { ...xdg, OCIMOUNT_RUNTIME_DIR: '/x/y' }, uid: 0, want: ['/x/y'] },
    { env: { OCIMOUNT_RUNTIME_DIR: '' }, uid: 7, want: ['/tmp/ocimount-7'] },
  ]
  for (const { want, ...environment } of cases) {
    t.strictSame(runtimeDirCandidates(environment), want)
  }
})

t.test('openRuntimeDir() makes the directory for the user alone', async (t) => {
  const path = join(t.testdir(), 'state')
  const environment = { env: { OCIMOUNT_RUNTIME_DIR: path }, uid }
  t.strictSame(await existingRuntimeDirs(environment), [])
  t.equal(await openRuntimeDir(environment), path)
  t.equal(lstatSync(path).mode & 0o7777, 0o700)
  t.equal(await openRuntimeDir(environment), path)
  t.strictSame(await existingRuntimeDirs(environment), [path])
})

t.test('openRuntimeDir() trusts no directory that others have a hand in', async (t) => {
  const directory = t.testdir({ file: '' })
  mkdirSync(join(directory, 'open'))
  chmodSync(join(directory, 'open'), 0o770)
  mkdirSync(join(directory, 'real'), { mode: 0o700 })
  symlinkSync('real', join(directory, 'link'))
  const cases: [string, number, RegExp][] = [
    ['open', uid, /others may enter it \(its mode is 0770\)/],
    ['link', uid, /symbolic link/],
    ['file', uid, /not a directory/],
    ['real', uid + 1, new RegExp(`belongs to user ${uid}`)],
  ]
  for (const [name, user, message] of cases) {
    const environment = { env: { OCIMOUNT_RUNTIME_DIR: join(directory, name) }, uid: user }
    await t.rejects(openRuntimeDir(environment), { code: 'STORAGE_FAILED', message })
    t.strictSame(await existingRuntimeDirs(environment), [])
  }
})

t.test('openRuntimeDir() goes on where a directory cannot be made', async (t) => {
  const path = t.testdir({ file: '' })
  const gone = { env: { OCIMOUNT_RUNTIME_DIR: join(path, 'none', 'state') }, uid }
  await t.rejects(openRuntimeDir(gone), { code: 'STORAGE_FAILED', message: /ENOENT/ })
})
