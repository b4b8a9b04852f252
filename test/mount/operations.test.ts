import { constants as fsConstants } from 'node:fs'
import { constants } from 'node:os'
import t from 'tap'
import { byteStringOf } from '../../src/byte-string.js'
import { RootfsOperations } from '../../src/mount/operations.js'
import { contiguous, directory, file, name, node, symlink, xattrs } from '../helpers/erofs-tree.js'
import { SeededRandom } from '../helpers/seeded-random.js'
import { memoryDevice, targetOf } from '../helpers/with-mount.js'

const { EACCES, EINVAL, EIO, EISDIR, ENAMETOOLONG, ENODATA, ENOENT, ENOTDIR, EROFS } =
  constants.errno
const { O_RDONLY, O_RDWR, O_TRUNC, O_WRONLY, R_OK, W_OK, X_OK } = fsConstants

const content = new SeededRandom(3).bytes(300_032)
const target = targetOf(
  directory({
    a: directory({ b: directory({ c: directory({ file: contiguous(0, 3000) }) }) }),
    script: contiguous(0, 10, { mode: 0o100711 }),
    holes: file(200_000, [
      { fileOffset: 4096, device: 0, deviceOffset: 512, length: 4096 },
      { fileOffset: 131_072, device: 0, deviceOffset: 65_536, length: 4096 },
    ]),
    link: symlink('größe'.normalize()),
    bytes: symlink('\xff'),
    fifo: node(0o10644),
    tagged: file(0, [], {
      xattrs: xattrs({ 'user.one': '1', 'user.two': '22', 'user.\xff': '3' }),
    }),
  }),
  [content],
)
const operations = new RootfsOperations(target)

function nidOf(path: string): number {
  return operations.resolve(byteStringOf(path))
}

t.test('resolve() walks paths, the second time as the first', async (t) => {
  const { image } = target
  const a = image.lookup(image.rootNid, name('a'))!
  const b = image.lookup(a, name('b'))!
  const c = image.lookup(b, name('c'))!
  const cases: [string, number][] = [
    ['/', image.rootNid],
    ['/a/b/c/file', image.lookup(c, name('file'))!],
    ['/a', a],
    ['/a/b', b],
    ['/a/b/c', c],
    ['/a/b/d/e', -ENOENT],
    ['/x', -ENOENT],
    ['/script/below', -ENOTDIR],
    ['/script/below/that', -ENOTDIR],
    ['/link/below', -ENOTDIR],
    [`/a/${'n'.repeat(256)}`, -ENAMETOOLONG],
    [`/${'n'.repeat(256)}/a`, -ENAMETOOLONG],
    ['/a/', -ENOENT],
  ]
  for (const round of [1, 2]) {
    for (const [path, want] of cases) t.equal(nidOf(path), want, `${path}, round ${round}`)
  }
})

t.test('open() and access() refuse to write', async (t) => {
  const script = nidOf('/script')
  const wanted = [O_RDONLY, O_WRONLY, O_RDWR, O_RDONLY | O_TRUNC]
  t.strictSame(
    wanted.map((flags) => operations.open(script, flags)),
    [0, -EROFS, -EROFS, -EROFS],
  )
  t.equal(operations.open(nidOf('/a'), O_RDONLY), -EISDIR)
  t.equal(operations.open(nidOf('/fifo'), O_RDONLY), -EINVAL)
  t.strictSame(
    [0, R_OK, X_OK, R_OK | X_OK, W_OK].map((mask) => operations.access(script, mask)),
    [0, 0, 0, 0, -EROFS],
  )
  t.equal(operations.access(nidOf('/holes'), X_OK), -EACCES)
  t.equal(operations.access(nidOf('/a'), X_OK), 0)
})

t.test('read() puts pieces and holes together', async (t) => {
  const want = Buffer.alloc(200_000)
  content.copy(want, 4096, 512, 512 + 4096)
  content.copy(want, 131_072, 65_536, 65_536 + 4096)
  const random = new SeededRandom(11)
  for (let round = 0; round < 200; round++) {
    const offset = random.below(210_000)
    const part = Buffer.alloc(random.pick([0, 1, 4096, 131_072]), 0xee)
    const length = await operations.read(nidOf('/holes'), part, offset)
    const expected = want.subarray(offset, offset + part.length)
    if (length !== expected.length || !part.subarray(0, length).equals(expected)) {
      t.fail(`${part.length} bytes at ${offset}`)
    }
    if (!part.subarray(length).every((byte) => byte === 0xee)) t.fail(`behind the end at ${offset}`)
  }
})

t.test('read() does not settle while a device still writes, even when another fails', async (t) => {
  let finishSlow: () => void = () => undefined
  let slowTarget: Buffer | undefined
  const broken = {
    ...memoryDevice(content),
    read: async (part: Buffer, deviceOffset: number) => {
      if (deviceOffset === 512) throw new Error('broken')
      slowTarget = part
      await new Promise<void>((resolve) => (finishSlow = resolve))
    },
  }
  const failing = new RootfsOperations({ image: target.image, devices: [broken] })
  let isSettled = false
  const reading = failing
    .read(nidOf('/holes'), Buffer.alloc(200_000), 0)
    .catch((error: unknown) => {
      isSettled = true
      return error
    })
  await new Promise(setImmediate)
  t.equal(slowTarget?.length, 4096)
  t.notOk(isSettled)
  finishSlow()
  t.match(await reading, { message: 'broken' })
})

t.test('readdir(), readlink() and the xattr calls answer what the image has', async (t) => {
  const entries = operations.readdir(nidOf('/a'))
  t.strictSame(Array.isArray(entries) || typeof entries === 'number', false)
  t.strictSame(
    [...(entries as Iterable<{ name: string }>)].map((entry) => entry.name),
    ['.', '..', 'b'],
  )
  t.equal(operations.readdir(nidOf('/script')), -ENOTDIR)
  t.equal(operations.readlink(nidOf('/bytes')), -EIO)
  t.equal(operations.readlink(nidOf('/a')), -EINVAL)
  t.equal(operations.listxattr(nidOf('/tagged')).toString('latin1'), 'user.one\0user.two\0')
  t.strictSame(operations.getxattr(nidOf('/tagged'), name('user.two')), Buffer.from('22'))
  t.equal(operations.getxattr(nidOf('/tagged'), name('user.three')), -ENODATA)
  t.equal(operations.listxattr(nidOf('/a')).length, 0)
})

t.test('RootfsOperations refuses devices that are not those of the image', async (t) => {
  t.throws(() => new RootfsOperations({ ...target, devices: [] }), { code: 'INTERNAL' })
})
