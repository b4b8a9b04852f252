import t from 'tap'
import type { ByteString } from '../../src/byte-string.js'
import { isOcimountError } from '../../src/errors.js'
import { crc32c } from '../../src/erofs/crc32c.js'
import { S_IFDIR, S_IFLNK, S_IFMT, S_IFREG } from '../../src/erofs/format.js'
import { ErofsImage } from '../../src/erofs/reader.js'
import { writeErofs } from '../../src/erofs/writer.js'
import { contiguous, directory, file, name, node, symlink } from '../helpers/erofs-tree.js'
import { randomTree } from '../helpers/random-erofs-tree.js'
import { SeededRandom } from '../helpers/seeded-random.js'

const DEVICES = [
  { tag: 'first', size: 100_000 },
  { tag: 'second', size: 1000 },
]

function open(root = directory({})): ErofsImage {
  return new ErofsImage(writeErofs(root, DEVICES).image)
}

function find(image: ErofsImage, text: string): number {
  return image.lookup(image.rootNid, name(text))!
}

t.test('ErofsImage gives what the superblock says', (t) => {
  const image = open(directory({ a: file(0) }))
  t.strictSame(
    { size: image.size, rootNid: image.rootNid, inodes: image.inodeCount, devices: image.devices },
    {
      size: 4096,
      rootNid: 36,
      inodes: 2,
      devices: [
        { tag: 'first', size: 100_352 },
        { tag: 'second', size: 1024 },
      ],
    },
  )
  t.end()
})

t.test('ErofsImage.inode() gives all of stat', (t) => {
  const image = open(
    directory({
      a: node(0o24777, {
        uid: 1,
        gid: 0xffffffff,
        mtimeSeconds: -3,
        mtimeNanoseconds: 5,
        devMajor: 8,
        devMinor: 0x12345,
      }),
    }),
  )
  const nid = find(image, 'a')
  const { mode, uid, gid, mtimeSeconds, mtimeNanoseconds, nlink, size, rdev, blocks } =
    image.inode(nid)
  t.strictSame(
    { mode, uid, gid, mtimeSeconds, mtimeNanoseconds, nlink, size, rdev, blocks },
    {
      mode: 0o24777,
      uid: 1,
      gid: 0xffffffff,
      mtimeSeconds: -3,
      mtimeNanoseconds: 5,
      nlink: 1,
      size: 0,
      rdev: 0x12300845,
      blocks: 0,
    },
  )
  t.equal(image.inode(nid).nid, nid)
  t.end()
})

t.test('ErofsImage.lookup() finds every name and no other', (t) => {
  for (const count of [0, 1, 2, 17, 400, 5000]) {
    const names = Array.from({ length: count }, (_, index) => `n${index * 3}`)
    const image = open(directory(Object.fromEntries(names.map((text) => [text, file(0)]))))
    const { rootNid } = image
    t.strictSame(
      names.filter((text) => image.lookup(rootNid, name(text)) === undefined),
      [],
    )
    const absent = names.flatMap((text) => [
      `${text}x`,
      text.slice(0, -1),
      `n${Number(text.slice(1)) + 1}`,
      `${text}\0`,
    ])
    const strangers = absent.filter((text) => !names.includes(text) && text !== '')
    t.strictSame(
      strangers.filter((text) => image.lookup(rootNid, name(text)) !== undefined),
      [],
    )
    t.equal(image.lookup(rootNid, name('.')), rootNid)
    t.equal(image.lookup(rootNid, name('..')), rootNid)
    for (const text of ['', '\0', '\xff', '\u{100}n', '-', '/']) {
      t.equal(image.lookup(rootNid, name(text)), undefined)
    }
  }
  t.end()
})

t.test('ErofsImage.readdir() goes on after any entry', (t) => {
  const image = open(
    directory(Object.fromEntries(Array.from({ length: 300 }, (_, i) => [`name ${i}`, file(0)]))),
  )
  const all = [...image.readdir(image.rootNid)]
  t.equal(all.length, 302)
  t.ok(all.every((entry) => entry.next > 0))
  for (const [index, entry] of all.entries()) {
    t.strictSame([...image.readdir(image.rootNid, entry.next)], all.slice(index + 1))
  }
  t.strictSame([...image.readdir(image.rootNid, 1e15)], [])
  t.throws(() => image.readdir(image.rootNid, -1), { code: 'INTERNAL' })
  t.throws(() => image.readdir(image.rootNid, NaN), { code: 'INTERNAL' })
  t.end()
})

t.test('ErofsImage.extents() maps content and holes and stops at the end', (t) => {
  const image = open(
    directory({
      empty: file(0),
      hole: file(10_000),
      sparse: file(9000, [
        { fileOffset: 1024, device: 0, deviceOffset: 512, length: 1024 },
        { fileOffset: 2048, device: 0, deviceOffset: 1536, length: 512 },
        { fileOffset: 2560, device: 1, deviceOffset: 0, length: 512 },
        { fileOffset: 8192, device: 0, deviceOffset: 8192, length: 808 },
      ]),
      tail: contiguous(99_328, 600),
    }),
  )
  const cases: { path: string; from: number; length: number; want: (number | string)[][] }[] = [
    { path: 'empty', from: 0, length: 10, want: [] },
    { path: 'hole', from: 0, length: 1e9, want: [[0, 10_000, 'zero', 0]] },
    { path: 'hole', from: 9999, length: 5, want: [[9999, 1, 'zero', 0]] },
    { path: 'hole', from: 10_000, length: 5, want: [] },
    { path: 'hole', from: 5, length: 0, want: [] },
    { path: 'tail', from: 599, length: 2, want: [[599, 1, 0, 99_927]] },
    {
      path: 'sparse',
      from: 0,
      length: 9000,
      want: [
        [0, 1024, 'zero', 0],
        [1024, 1536, 0, 512],
        [2560, 512, 1, 0],
        [3072, 5120, 'zero', 0],
        [8192, 808, 0, 8192],
      ],
    },
    {
      path: 'sparse',
      from: 1500,
      length: 1061,
      want: [
        [1500, 1060, 0, 988],
        [2560, 1, 1, 0],
      ],
    },
  ]
  for (const { path, from, length, want } of cases) {
    const pieces = image.extents(find(image, path), from, length)
    t.strictSame(
      pieces.map((piece) => [piece.fileOffset, piece.length, piece.device, piece.deviceOffset]),
      want,
      `${path} ${from}+${length}`,
    )
  }
  t.throws(() => image.extents(find(image, 'hole'), -1, 1), { code: 'INTERNAL' })
  t.end()
})

t.test('ErofsImage throws for what the kind of an inode does not have', (t) => {
  const image = open(directory({ a: file(0), l: symlink('a') }))
  const a = find(image, 'a')
  const l = find(image, 'l')
  for (const nid of [a, l]) {
    t.throws(() => image.lookup(nid, name('x')), { code: 'INTERNAL' })
    t.throws(() => image.readdir(nid), { code: 'INTERNAL' })
  }
  for (const nid of [a, image.rootNid]) t.throws(() => image.readlink(nid), { code: 'INTERNAL' })
  for (const nid of [l, image.rootNid]) {
    t.throws(() => image.extents(nid, 0, 1), { code: 'INTERNAL' })
  }
  for (const nid of [0, -1, 0.5, NaN, Infinity, 2 ** 40]) {
    t.throws(() => image.inode(nid), { code: 'CACHE_CORRUPT' })
  }
  t.equal(image.getxattr(a, name('user.none')), undefined)
  t.strictSame(image.listxattr(a), [])
  t.end()
})

const damages: { name: string; damage: (image: Buffer) => Buffer }[] = [
  { name: 'nothing', damage: () => Buffer.alloc(0) },
  { name: 'zeros', damage: () => Buffer.alloc(4096) },
  { name: 'a boot area alone', damage: (image) => image.subarray(0, 1100) },
  { name: 'a cut end', damage: (image) => image.subarray(0, 4095) },
  { name: 'a wrong magic', damage: (image) => poke(image, 1024, 0) },
  { name: 'a wrong checksum', damage: (image) => poke(image, 1028, (image[1028] ?? 0) ^ 1, false) },
  { name: 'a changed root inode', damage: (image) => poke(image, 1152 + 24, 1, false) },
  { name: 'another block size', damage: (image) => poke(image, 1024 + 12, 12) },
  { name: 'no checksum feature', damage: (image) => poke(image, 1024 + 8, 0) },
  { name: 'a compression feature', damage: (image) => poke(image, 1024 + 80, 0x0d) },
  { name: 'a device table without its feature', damage: (image) => poke(image, 1024 + 80, 0x04) },
  { name: 'another directory block size', damage: (image) => poke(image, 1024 + 90, 1) },
  { name: 'long attribute prefixes', damage: (image) => poke(image, 1024 + 91, 1) },
  { name: 'a moved metadata area', damage: (image) => poke(image, 1024 + 40, 1) },
  { name: 'a larger superblock', damage: (image) => poke(image, 1024 + 13, 1) },
  { name: 'a device table outside', damage: (image) => poke(image, 1024 + 89, 0xff) },
  { name: 'too many devices', damage: (image) => poke(image, 1024 + 87, 0xff) },
]

/** Changes a byte and, unless that is the point, makes the checksum right again. */
function poke(image: Buffer, offset: number, value: number, fixChecksum = true): Buffer {
  const copy = Buffer.from(image)
  copy[offset] = value
  return fixChecksum ? withChecksum(copy) : copy
}

function withChecksum(image: Buffer): Buffer {
  image.writeUInt32LE(0, 1028)
  image.writeUInt32LE(crc32c(0xffffffff, image.subarray(1024, 1536)), 1028)
  return image
}

for (const { name, damage } of damages) {
  t.test(`ErofsImage rejects ${name}`, (t) => {
    const { image } = writeErofs(directory({}), DEVICES)
    t.doesNotThrow(() => new ErofsImage(withChecksum(Buffer.from(image))))
    t.throws(() => new ErofsImage(damage(image)), { code: 'CACHE_CORRUPT' })
    t.end()
  })
}

/** Asks an image everything there is to ask; gives how many entries it showed. */
function askEverything(image: ErofsImage): number {
  const seen = new Set<number>()
  const pending = [image.rootNid]
  let entries = 0
  for (let nid = pending.pop(); nid !== undefined; nid = pending.pop()) {
    if (seen.has(nid)) continue
    seen.add(nid)
    const asked = nid
    const inode = attempt(undefined, () => image.inode(asked))
    const { mode, size } = inode ?? { mode: 0, size: 0 }
    attempt(undefined, () => image.listxattr(asked))
    attempt(undefined, () => image.getxattr(asked, name('trusted.a1')))
    if ((mode & S_IFMT) === S_IFLNK) attempt(undefined, () => image.readlink(asked))
    if ((mode & S_IFMT) === S_IFREG) {
      attempt(undefined, () => image.extents(asked, 0, size))
      attempt(undefined, () => image.extents(asked, Math.max(0, size - 1), 10))
    }
    if ((mode & S_IFMT) !== S_IFDIR) continue
    attempt(undefined, () => {
      for (const entry of image.readdir(asked)) {
        entries++
        pending.push(entry.nid)
        attempt(undefined, () => image.lookup(asked, entry.name))
      }
    })
    attempt(undefined, () => image.lookup(asked, 'absent' as ByteString))
  }
  return entries
}

/** Lets pass what damage may cause, and nothing else. */
function attempt<Result>(fallback: Result, ask: () => Result): Result {
  try {
    return ask()
  } catch (error) {
    if (!isOcimountError(error, 'CACHE_CORRUPT')) throw error
    return fallback
  }
}

t.test('ErofsImage survives forged bytes', (t) => {
  const random = new SeededRandom(Number(process.env['OCIMOUNT_TEST_SEED'] ?? 3))
  t.comment(`seed ${random.seed}`)
  const contents = [random.bytes(50_000)]
  let damaged = 0
  for (let round = 0; round < 12; round++) {
    const tree = randomTree(random, contents)
    const { image } = writeErofs(tree, [{ tag: 'a', size: 50_000 }])
    const intact = askEverything(new ErofsImage(image))
    // Where the bytes are that mean something; the padding is of no interest.
    const used = Array.from(image.keys()).filter((offset) => offset >= 1024 && image[offset] !== 0)
    for (let mutation = 0; mutation < 150; mutation++) {
      const forged = Buffer.from(image)
      for (let change = random.below(4); change >= 0; change--) {
        const offset = random.chance(3)
          ? 1024 + random.below(image.length - 1024)
          : random.pick(used)
        const value = random.pick([0, 1, 0x7f, 0x80, 0xff, random.below(256)])
        forged[offset] = random.chance(2) ? value : (forged[offset] ?? 0) ^ (1 << random.below(8))
      }
      const shown = attempt(-1, () => askEverything(new ErofsImage(withChecksum(forged))))
      if (shown !== intact) damaged++
    }
  }
  t.ok(damaged > 50, `${damaged} forgeries changed what is shown`)
  t.end()
})
