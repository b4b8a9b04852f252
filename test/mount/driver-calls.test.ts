// Single calls at the edges of what a filesystem answers, made by Python from another process.

import { closeSync, openSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import t from 'tap'
import { OcimountError } from '../../src/errors.js'
import type { LayerDevice } from '../../src/layer/device.js'
import { contiguous, directory, file, symlink, xattrs } from '../helpers/erofs-tree.js'
import { SeededRandom } from '../helpers/seeded-random.js'
import { eachDriver } from '../helpers/mount-drivers.js'
import {
  memoryDevice,
  python,
  run,
  scratchDirectory,
  serve,
  targetOf,
} from '../helpers/with-mount.js'

const PRELUDE = `
import ctypes, errno, json, os, sys
root = sys.argv[1]
libc = ctypes.CDLL(None, use_errno=True)
def code(call):
    try:
        value = call()
        return value if isinstance(value, (int, str, list)) else 'done'
    except OSError as error:
        return errno.errorcode[error.errno]
`

eachDriver(t, 'extended attributes answer sizes, ERANGE and ENODATA', async (t, driver) => {
  const large = Buffer.alloc(60_000, 7)
  const root = directory({
    file: file(0, [], {
      xattrs: xattrs({ 'user.a': 'value', 'user.empty': '', 'security.big': large }),
    }),
    bare: file(0),
    link: symlink('file', { xattrs: xattrs({ 'trusted.t': 'on the link' }) }),
  })
  const { mountpoint } = await serve(t, targetOf(root), { driver })
  const script = `${PRELUDE}
def get(path, name, size):
    buffer = ctypes.create_string_buffer(max(size, 1))
    result = libc.getxattr(os.fsencode(root + path), name, buffer, size)
    return result if result >= 0 else errno.errorcode[ctypes.get_errno()]
def list_of(path, size):
    buffer = ctypes.create_string_buffer(max(size, 1))
    result = libc.listxattr(os.fsencode(root + path), buffer, size)
    return result if result >= 0 else errno.errorcode[ctypes.get_errno()]
print(json.dumps([
    get('/file', b'user.a', 0), get('/file', b'user.a', 4), get('/file', b'user.a', 5), get('/file', b'user.a', 999),
    get('/file', b'user.empty', 0), get('/file', b'user.empty', 10), get('/file', b'user.no', 0),
    get('/file', b'security.big', 0), get('/file', b'security.big', 59999), get('/file', b'security.big', 60000),
    get('/bare', b'user.a', 10), get('/none', b'user.a', 10),
    list_of('/file', 0), list_of('/file', 10), list_of('/file', 31), list_of('/bare', 0), list_of('/bare', 5),
    code(lambda: os.getxattr(root + '/link', 'trusted.t', follow_symlinks=False).decode()),
    code(lambda: sorted(os.listxattr(root + '/file'))),
]))`
  t.strictSame(await python(script, mountpoint), [
    ...[5, 'ERANGE', 5, 5, 0, 0, 'ENODATA', 60_000, 'ERANGE', 60_000, 'ENODATA', 'ENOENT'],
    ...['user.a|user.empty|security.big|'.length, 'ERANGE', 31, 0, 0],
    'on the link',
    ['security.big', 'user.a', 'user.empty'],
  ])
})

/** Every call that changes something, on paths that exist as it needs them. */
const CHANGES: Readonly<Record<string, string>> = {
  mknod: "os.mknod(root + '/new')",
  mkdir: "os.mkdir(root + '/new')",
  unlink: "os.unlink(root + '/file')",
  rmdir: "os.rmdir(root + '/dir')",
  rename: "os.rename(root + '/file', root + '/new')",
  link: "os.link(root + '/file', root + '/new')",
  symlink: "os.symlink('file', root + '/new')",
  create: "os.open(root + '/new', os.O_CREAT | os.O_WRONLY)",
  chmod: "os.chmod(root + '/file', 0o600)",
  chown: "os.chown(root + '/file', 1, 1)",
  truncate: "os.truncate(root + '/file', 0)",
  'open O_TRUNC': "os.open(root + '/file', os.O_WRONLY | os.O_TRUNC)",
  utime: 'os.utime(root, (1, 1))',
  setxattr: "os.setxattr(root + '/file', 'user.a', b'x' * 5000)",
  removexattr: "os.removexattr(root + '/file', 'user.a')",
  write: "os.write(os.open(root + '/file', os.O_RDWR), b'x' * 10)",
  append: "os.write(os.open(root + '/file', os.O_WRONLY | os.O_APPEND), b'x' * 10)",
}

for (const isRemounted of [false, true]) {
  const who = isRemounted ? 'the server, on a mount that root made rw,' : 'a mount'
  eachDriver(t, `${who} answers EROFS to every change`, async (t, driver) => {
    const fields = { mode: 0o100777, xattrs: xattrs({ 'user.a': 'x' }) }
    const root = directory({ file: contiguous(0, 512, fields), dir: directory({}) })
    const { mountpoint } = await serve(t, targetOf(root, [Buffer.alloc(512, 'a')]), { driver })
    if (isRemounted) {
      // -i, or mount(8) has the helper of the filesystem type do it, which is ocimount.
      t.match(await run(['mount', '-i', '-o', 'remount,rw', mountpoint]), { status: 0 })
      // Opening needs no answer any more after this, so that writes reach the server.
      t.match(await run(['cat', `${mountpoint}/file`]), { stdout: 'a'.repeat(512) })
    } else {
      const script = `${PRELUDE}print(json.dumps([code(lambda: os.open(root + '/file', flags)) for flags in (os.O_WRONLY, os.O_RDWR, os.O_RDONLY | os.O_TRUNC)] + [os.access(root + '/file', os.W_OK), os.access(root + '/file', os.X_OK)]))`
      t.strictSame(await python(script, mountpoint), ['EROFS', 'EROFS', 'EROFS', false, true])
    }
    const calls = Object.values(CHANGES).map((call) => `code(lambda: ${call})`)
    const script = `${PRELUDE}print(json.dumps([${calls.join(',')}]))`
    const answers = (await python(script, mountpoint)) as unknown[]
    t.strictSame(
      Object.keys(CHANGES).map((name, index) => [name, answers[index]]),
      Object.keys(CHANGES).map((name) => [name, 'EROFS']),
    )
  })
}

eachDriver(t, 'reading works from many processes and threads at once', async (t, driver) => {
  const content = new SeededRandom(7).bytes(8 << 20)
  const target = targetOf(directory({ big: contiguous(0, content.length - 100) }), [content])
  const { mountpoint } = await serve(t, target, { driver })
  const script = `
import base64, concurrent.futures, json, os, random, sys
path, seed = sys.argv[1], int(sys.argv[2])
source = random.Random(seed)
size = os.path.getsize(path)
file = os.open(path, os.O_RDONLY)
ranges = [(source.randrange(size + 5000), source.choice([1, 511, 4096, 5000, 300000])) for _ in range(25)]
def read(place):
    offset, length = place
    return [offset, length, base64.b64encode(os.pread(file, length, offset)).decode()]
with concurrent.futures.ThreadPoolExecutor(8) as pool:
    print(json.dumps(list(pool.map(read, ranges))))
`
  const seeds = ['1', '2', '3', '4']
  const answers = await Promise.all(
    seeds.map(async (seed) => python(script, `${mountpoint}/big`, seed)),
  )
  for (const [offset, length, bytes] of (answers as [number, number, string][][]).flat()) {
    const want = content.subarray(0, content.length - 100).subarray(offset, offset + length)
    if (!Buffer.from(bytes, 'base64').equals(want)) t.fail(`${length} bytes at ${offset} differ`)
  }
})

eachDriver(t, 'a device that fails gives EIO for its files alone', async (t, driver) => {
  const good = Buffer.alloc(8192, 'g')
  const target = targetOf(
    directory({
      bad: contiguous(0, 1000),
      good: file(1000, [{ fileOffset: 0, device: 1, deviceOffset: 0, length: 1000 }]),
      mixed: file(400_000, [
        { fileOffset: 0, device: 1, deviceOffset: 0, length: 4096 },
        { fileOffset: 4096, device: 0, deviceOffset: 0, length: 4096 },
      ]),
    }),
    [good, good],
  )
  // Its pieces come when they are wanted, as those of a compressed layer.
  let isBroken = true
  const path = join(scratchDirectory(t), 'data')
  writeFileSync(path, good)
  const fd = openSync(path, 'r')
  t.teardown(() => {
    closeSync(fd)
  })
  const state = new Uint8Array(1)
  const ensure = async (): Promise<[]> => {
    if (isBroken) throw new OcimountError('DIGEST_MISMATCH', 'Cannot read: the digest is wrong')
    state[0] = 2
    return Promise.resolve([])
  }
  const first = memoryDevice(good)
  const failing: LayerDevice = {
    ...first,
    read: async (part, deviceOffset) => {
      await ensure()
      await first.read(part, deviceOffset)
    },
    native: () => ({
      kind: 'pieces',
      size: good.length,
      fd,
      state,
      use: new Uint8Array(0),
      hasParts: false,
    }),
    ensure,
  }
  const devices = [failing, memoryDevice(good)]
  const { mountpoint } = await serve(t, { ...target, devices }, { driver })
  t.match(await run(['cat', `${mountpoint}/bad`]), { status: 1, stderr: /Input\/output error/ })
  t.match(await run(['cat', `${mountpoint}/mixed`]), { status: 1, stderr: /Input\/output error/ })
  t.match(await run(['cat', `${mountpoint}/good`]), { status: 0, stdout: 'g'.repeat(1000) })
  isBroken = false
  t.match(await run(['cat', `${mountpoint}/bad`]), { status: 0, stdout: 'g'.repeat(1000) })
})

eachDriver(t, 'errors of lookup are those of any filesystem', async (t, driver) => {
  const { mountpoint } = await serve(
    t,
    targetOf(directory({ file: file(0), dir: directory({}) })),
    { driver },
  )
  const script = `${PRELUDE}
paths = ['/none', '/file/below', '/dir/none/below', '/' + 'n' * 256, '/' + 'n' * 255, '/dir/../file']
print(json.dumps([code(lambda: os.lstat(root + path)) for path in paths] + [
    code(lambda: os.readlink(root + '/file')), code(lambda: os.listdir(root + '/file')),
    code(lambda: os.read(os.open(root + '/dir', os.O_RDONLY), 10)),
]))`
  t.strictSame(await python(script, mountpoint), [
    ...['ENOENT', 'ENOTDIR', 'ENOENT', 'ENAMETOOLONG', 'ENOENT', 'done'],
    ...['EINVAL', 'ENOTDIR', 'EISDIR'],
  ])
})
