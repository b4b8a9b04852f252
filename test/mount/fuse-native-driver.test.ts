// What the driver fuse-native alone cannot show.

import t from 'tap'
import { directory, file, symlink, xattrs } from '../helpers/erofs-tree.js'
import { python, rootSkipReason, serve, targetOf } from '../helpers/with-mount.js'

const skip = rootSkipReason()

t.test('mount() hides what is not UTF-8, and listLimits() reports it', { skip }, async (t) => {
  const root = directory({
    '\xff': file(0),
    'dir\xc3': directory({ below: file(0) }),
    good: symlink('\xff'),
    old: file(0, [], { mtimeSeconds: -1 }),
    named: file(0, [], { xattrs: xattrs({ 'user.\xfe': '1', 'user.ok': '2' }) }),
  })
  const mount = await serve(t, targetOf(root), { driver: 'fuse-native' })
  const script = `
import errno, json, os, sys
root = sys.argv[1]
def code(call):
    try:
        return str(call())
    except OSError as error:
        return errno.errorcode[error.errno]
print(json.dumps([
    sorted(os.listdir(root)), code(lambda: os.readlink(root + '/good')),
    code(lambda: os.lstat(os.fsencode(root) + b'/\\xff')), code(lambda: os.listxattr(root + '/named')),
    code(lambda: os.lstat(root + '/old').st_mtime_ns),
]))`
  t.strictSame(await python(script, mount.mountpoint), [
    ['good', 'named', 'old'],
    'EIO',
    'ENOENT',
    "['user.ok']",
    '0',
  ])
  const limits = await mount.listLimits()
  t.strictSame(
    limits.map(({ kind, path }) => [kind, path]).sort(),
    [
      ['hidden-name', '/\xff'],
      ['hidden-name', '/dir\xc3'],
      ['hidden-xattr', '/named'],
      ['time-clamped', '/old'],
      ['unreadable-link', '/good'],
    ].sort(),
  )
})
