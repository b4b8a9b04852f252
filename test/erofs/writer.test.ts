import t, { type Test } from 'tap'
import { ErofsImage } from '../../src/erofs/reader.js'
import { writeErofs } from '../../src/erofs/writer.js'
import type { ErofsDevice, ErofsNode } from '../../src/erofs/node.js'
import {
  contiguous,
  diffSnapshots,
  digestOf,
  directory,
  file,
  name,
  node,
  snapshotImage,
  snapshotNode,
  withoutLayout,
  symlink,
  xattrs,
} from '../helpers/erofs-tree.js'

const CONTENT = [Buffer.alloc(1_000_000, 'content')]
const DEVICES = [{ tag: 'ab'.repeat(32), size: 1_000_000 }]

function roundTrip(t: Test, root: ErofsNode): void {
  const { image } = writeErofs(root, DEVICES)
  t.strictSame(
    diffSnapshots(
      withoutLayout(snapshotImage(new ErofsImage(image), CONTENT)),
      withoutLayout(snapshotNode(root, CONTENT)),
    ),
    [],
  )
}

t.test('writeErofs() writes every kind of inode as the reader reads it', (t) => {
  const shared = contiguous(512, 1000, { xattrs: xattrs({ 'user.a': 'x', 'security.b': '' }) })
  roundTrip(
    t,
    directory(
      {
        file: shared,
        'hard link': shared,
        empty: file(0),
        hole: file(5000),
        sub: directory({ again: shared, deep: directory({}) }, { uid: 0xfffffffe, gid: 70_000 }),
        link: symlink('../a target'),
        char: node(0o20666, { devMajor: 259, devMinor: 70_000 }),
        block: node(0o60660, { devMajor: 0xfff, devMinor: 0xfffff }),
        fifo: node(0o10600),
        socket: node(0o140755),
        setuid: contiguous(0, 1, { mode: 0o104755 }),
        '\xff\x01 \n': file(0),
        '!': file(0),
        '...': file(0),
      },
      { mode: 0o41777 },
    ),
  )
  t.end()
})

t.test('writeErofs() pads the image to a page and puts the root behind the superblock', (t) => {
  const { image, rootNid, inodeCount } = writeErofs(directory({}), [])
  t.strictSame([image.length, rootNid, inodeCount], [4096, 36, 1])
  t.strictSame(new ErofsImage(image).devices, [])
  t.equal(new ErofsImage(image).lookup(36, name('x')), undefined)
  t.end()
})

t.test('writeErofs() gives the same bytes whatever the order of names and attributes', (t) => {
  const shared = (): ReturnType<typeof xattrs> => xattrs({ 'user.b': 'b', 'user.a': 'a' })
  const first = directory({
    b: contiguous(0, 10, { xattrs: shared() }),
    a: directory({ y: file(0), x: symlink('y') }, { xattrs: shared() }),
  })
  const second = directory({
    a: directory(
      { x: symlink('y'), y: file(0) },
      { xattrs: xattrs({ 'user.a': 'a', 'user.b': 'b' }) },
    ),
    b: contiguous(0, 10, { xattrs: shared() }),
  })
  t.strictSame(writeErofs(first, DEVICES), writeErofs(second, DEVICES))
  t.end()
})

t.test('writeErofs() writes the bytes it always wrote', (t) => {
  // Whoever changes these bytes has to change the writer's version in the name of cached images too.
  const link = contiguous(1024, 700, { xattrs: xattrs({ 'user.a': 'shared', 'user.b': 'b' }) })
  const root = directory({
    link,
    'link 2': link,
    sub: directory(
      { hole: file(9000), fifo: node(0o10600) },
      { xattrs: xattrs({ 'user.a': 'shared' }) },
    ),
    long: symlink('l'.repeat(2000)),
    many: directory(
      Object.fromEntries(Array.from({ length: 50 }, (_, index) => [`n${index}`, file(0)])),
    ),
    null: node(0o20666, {
      devMajor: 1,
      devMinor: 3,
      mtimeSeconds: -1,
      mtimeNanoseconds: 999_999_999,
    }),
  })
  const { image } = writeErofs(root, DEVICES)
  t.equal(digestOf(image), 'f1db61c88ffa99faf9eac56e35d881e948cd73513235f85b1b8a3d3e82cd8e67')
  t.end()
})

t.test('writeErofs() follows a tree of 20,000 levels', (t) => {
  let root = directory({})
  for (let depth = 0; depth < 20_000; depth++) root = directory({ d: root })
  const image = new ErofsImage(writeErofs(root, []).image)
  let nid: number | undefined = image.rootNid
  let depth = -1
  for (; nid !== undefined; depth++) nid = image.lookup(nid, name('d'))
  t.equal(depth, 20_000)
  t.end()
})

t.test('writeErofs() counts links up to what a directory and a file can have', (t) => {
  const shared = file(0)
  const children: Record<string, ErofsNode> = {}
  for (let index = 0; index < 70_000; index++) children[`f${index}`] = shared
  for (let index = 0; index < 70_000; index++) children[`d${index}`] = directory({})
  const image = new ErofsImage(writeErofs(directory(children), []).image)
  t.equal(image.inode(image.rootNid).nlink, 70_002)
  t.equal(image.inode(image.lookup(image.rootNid, name('f1'))!).nlink, 70_000)
  t.end()
})

const twice = directory({})
const rejected: { name: string; root: ErofsNode; why: RegExp }[] = [
  { name: 'a root that is a file', root: file(0), why: /root is not a directory/ },
  {
    name: 'a directory with two names',
    root: directory({ a: twice, b: twice }),
    why: /another name/,
  },
  { name: 'an empty name', root: directory({ '': file(0) }), why: /not a file name/ },
  { name: 'a name .', root: directory({ '.': file(0) }), why: /not a file name/ },
  { name: 'a name ..', root: directory({ '..': file(0) }), why: /not a file name/ },
  { name: 'a slash in a name', root: directory({ 'a/b': file(0) }), why: /not a file name/ },
  { name: 'a NUL in a name', root: directory({ 'a\0b': file(0) }), why: /not a file name/ },
  {
    name: 'a name of 256 bytes',
    root: directory({ ['n'.repeat(256)]: file(0) }),
    why: /not a file/,
  },
  { name: 'a file without a size', root: directory({ a: node(0o100644) }), why: /no size/ },
  { name: 'a size above 2^53', root: directory({ a: file(2 ** 53) }), why: /no size/ },
  { name: 'content beside blocks', root: directory({ a: contiguous(1, 10) }), why: /line up/ },
  {
    name: 'content behind its device',
    root: directory({ a: contiguous(999_936, 65) }),
    why: /outside/,
  },
  {
    name: 'content on no device',
    root: directory({ a: file(1, [{ fileOffset: 0, device: 1, deviceOffset: 0, length: 1 }]) }),
    why: /outside/,
  },
  { name: 'a link without a target', root: directory({ a: node(0o120777) }), why: /target/ },
  { name: 'an empty target', root: directory({ a: symlink('') }), why: /target/ },
  {
    name: 'a target of 4096 bytes',
    root: directory({ a: symlink('t'.repeat(4096)) }),
    why: /target/,
  },
  { name: 'a NUL in a target', root: directory({ a: symlink('a\0') }), why: /target/ },
  { name: 'a mode without a kind', root: directory({ a: node(0o644) }), why: /out of range/ },
  { name: 'a mode of an unknown kind', root: directory({ a: node(0o30644) }), why: /out of range/ },
  { name: 'a mode of 17 bits', root: directory({ a: node(0o300644) }), why: /out of range/ },
  {
    name: 'a negative owner',
    root: directory({ a: file(0, [], { uid: -1 }) }),
    why: /out of range/,
  },
  {
    name: 'an owner of 33 bits',
    root: directory({ a: file(0, [], { gid: 2 ** 32 }) }),
    why: /out of/,
  },
  {
    name: 'half a second',
    root: directory({ a: file(0, [], { mtimeSeconds: 0.5 }) }),
    why: /out of/,
  },
  {
    name: 'a second of nanoseconds',
    root: directory({ a: file(0, [], { mtimeNanoseconds: 1e9 }) }),
    why: /out of range/,
  },
  {
    name: 'a major number of 13 bits',
    root: directory({ a: node(0o20644, { devMajor: 4096 }) }),
    why: /out/,
  },
  {
    name: 'a minor number of 21 bits',
    root: directory({ a: node(0o60644, { devMinor: 2 ** 20 }) }),
    why: /out/,
  },
]

for (const { name, root, why } of rejected) {
  t.test(`writeErofs() rejects ${name}`, (t) => {
    t.throws(() => writeErofs(root, DEVICES), { code: 'INTERNAL', message: why })
    t.end()
  })
}

const badDevices: { name: string; devices: ErofsDevice[]; code: string }[] = [
  { name: 'an empty tag', devices: [{ tag: '', size: 1 }], code: 'INTERNAL' },
  { name: 'a tag of 65 bytes', devices: [{ tag: 't'.repeat(65), size: 1 }], code: 'INTERNAL' },
  { name: 'a tag that is not ASCII', devices: [{ tag: 'é', size: 1 }], code: 'INTERNAL' },
  { name: 'a negative size', devices: [{ tag: 'a', size: -1 }], code: 'INTERNAL' },
  { name: 'a device of 2 TiB', devices: [{ tag: 'a', size: 2 ** 41 }], code: 'LIMIT_EXCEEDED' },
  {
    name: '65,536 devices',
    devices: Array.from({ length: 65_536 }, () => ({ tag: 'a', size: 1 })),
    code: 'LIMIT_EXCEEDED',
  },
]

for (const { name, devices, code } of badDevices) {
  t.test(`writeErofs() rejects ${name}`, (t) => {
    t.throws(() => writeErofs(directory({}), devices), { code })
    t.end()
  })
}

t.test('writeErofs() takes as many devices as the table can hold', (t) => {
  const devices = Array.from({ length: 65_535 }, (_, index) => ({
    tag: `d${index}`,
    size: 512 * index,
  }))
  const last = { fileOffset: 0, device: 65_534, deviceOffset: 512, length: 10 }
  const image = new ErofsImage(writeErofs(directory({ a: file(10, [last]) }), devices).image)
  t.strictSame(image.devices, devices)
  t.strictSame(image.extents(image.lookup(image.rootNid, name('a'))!, 0, 10), [last])
  t.end()
})
