// An image for devices inside larger files shows what the image shows for the devices themselves.

import t from 'tap'
import { ErofsImage } from '../../src/erofs/reader.js'
import { relocateImage } from '../../src/erofs/relocate.js'
import { writeErofs } from '../../src/erofs/writer.js'
import {
  contiguous,
  diffSnapshots,
  directory,
  file,
  name,
  snapshotImage,
} from '../helpers/erofs-tree.js'
import { randomTree } from '../helpers/random-erofs-tree.js'
import { SeededRandom } from '../helpers/seeded-random.js'

const SEED = Number(process.env['OCIMOUNT_TEST_SEED'] ?? 20_261_126)
const random = new SeededRandom(SEED)
const CONTENTS = [random.bytes(600_064), random.bytes(70_144)]
const TABLE = CONTENTS.map(({ length }, index) => ({ tag: `layer-${index}`, size: length }))

/** The devices behind one another in one file, with something before, between and behind them. */
const FIRST = 1536
const SECOND = FIRST + 600_064 + 512
const ARCHIVE = Buffer.concat([
  random.bytes(FIRST),
  CONTENTS[0] ?? Buffer.of(),
  random.bytes(512),
  CONTENTS[1] ?? Buffer.of(),
  random.bytes(700),
])
const MOVES = [
  { device: 0, offset: FIRST },
  { device: 0, offset: SECOND },
]
const FILES = [{ tag: 'file0', size: ARCHIVE.length }]

t.test(`relocateImage() keeps every tree as it is (seed ${SEED})`, async (t) => {
  for (let round = 0; round < 6; round++) {
    const old = writeErofs(randomTree(random, CONTENTS), TABLE).image
    const before = Buffer.from(old)
    const { image } = relocateImage(old, MOVES, FILES)
    t.ok(old.equals(before), 'the image is left as it is')
    const moved = new ErofsImage(image)
    t.strictSame(moved.devices, [{ tag: 'file0', size: Math.ceil(ARCHIVE.length / 512) * 512 }])
    const want = snapshotImage(new ErofsImage(old), CONTENTS)
    t.strictSame(diffSnapshots(snapshotImage(moved, [ARCHIVE]), want), [], `round ${round}`)
  }
})

t.test('relocateImage() moves an inode of several names once, and leaves holes', async (t) => {
  const linked = contiguous(512, 1000)
  const sparse = file(131_072, [{ fileOffset: 65_536, device: 1, deviceOffset: 0, length: 65_536 }])
  const root = directory({ a: linked, b: linked, d: directory({ c: linked }), sparse })
  const { image, ends } = relocateImage(writeErofs(root, TABLE).image, MOVES, FILES)
  const moved = new ErofsImage(image)
  const extents = (path: string): unknown =>
    moved.extents(moved.lookup(moved.rootNid, name(path)) ?? 0, 0, 1 << 20)
  const want = [{ fileOffset: 0, length: 1000, device: 0, deviceOffset: FIRST + 512 }]
  t.strictSame(extents('a'), want)
  t.strictSame(extents('b'), want)
  t.strictSame(extents('sparse'), [
    { fileOffset: 0, length: 65_536, device: 'zero', deviceOffset: 0 },
    { fileOffset: 65_536, length: 65_536, device: 0, deviceOffset: SECOND },
  ])
  t.strictSame(ends, [SECOND + 65_536])
})

t.test('relocateImage() tells how far files reach, in whole blocks', async (t) => {
  const root = directory({ last: contiguous(0, 700) })
  const old = writeErofs(root, [{ tag: 'layer', size: 700 }]).image
  const { ends } = relocateImage(old, [{ device: 0, offset: 512 }], [{ tag: 'x', size: 1212 }])
  t.strictSame(ends, [1536])
})

t.test('relocateImage() takes an image without devices', async (t) => {
  const old = writeErofs(directory({ empty: file(0) }), []).image
  t.ok(relocateImage(old, [], []).image.equals(old))
})

t.test('relocateImage() refuses moves that are none, and forged images', async (t) => {
  const old = writeErofs(directory({ one: contiguous(0, 512) }), TABLE).image
  const internal = { code: 'INTERNAL' }
  t.throws(() => relocateImage(old, MOVES.slice(1), FILES), internal, 'a device without a move')
  const odd = [...MOVES.slice(1), { device: 0, offset: 100 }]
  t.throws(() => relocateImage(old, odd, FILES), internal, 'not on a block')
  t.throws(() => relocateImage(old, [{ device: 1, offset: 0 }, ...MOVES.slice(1)], FILES), internal)
  t.throws(() => relocateImage(old, MOVES, []), internal)
  const large = [{ tag: 'file0', size: 2 ** 41 }]
  t.throws(() => relocateImage(old, MOVES, large), { code: 'LIMIT_EXCEEDED' })

  const nid = new ErofsImage(old).lookup(new ErofsImage(old).rootNid, name('one')) ?? 0
  const forged = Buffer.from(old)
  forged.writeUInt32LE(600_064 / 512, nid * 32 + 64 + 4)
  const corrupt = { code: 'CACHE_CORRUPT' }
  t.throws(() => relocateImage(forged, MOVES, FILES), corrupt, 'a chunk behind its device')
  forged.writeUInt16LE(3, nid * 32 + 64 + 2)
  t.throws(() => relocateImage(forged, MOVES, FILES), corrupt, 'a chunk of no device')
  t.throws(() => relocateImage(old.subarray(0, 2048), MOVES, FILES), corrupt)
})
