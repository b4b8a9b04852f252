import t from 'tap'
import { byteString } from '../../src/byte-string.js'
import { ErofsImage } from '../../src/erofs/reader.js'
import { writeErofs } from '../../src/erofs/writer.js'
import {
  decodeRootfsFile,
  encodeRootfsFile,
  rootfsKey,
  type RootfsFile,
} from '../../src/rootfs/rootfs-file.js'
import { dir, file, layer, layerWith, sparse } from '../helpers/build-layer.js'
import { union } from './describe-tree.js'

const pieces = [
  { offset: 3, data: 'first' },
  { offset: 9000, data: 'second' },
]
const notes = [
  { kind: 'global-header', path: byteString(Buffer.from([0xff, 0x2f])), detail: 'ignored: é' },
]
const base = layer(dir('d'), file('d/x', 'one'), sparse('s', 10_000, pieces))
const upper = layerWith({ notes }, file('d/y', 'two'), file('d/y', 'three'))
const applied = union([base, upper, base])

function encoded(): Buffer {
  const devices = [...applied.devices, { layerId: 'virtual', size: applied.virtual.size }]
  const { image } = writeErofs(
    applied.root,
    devices.map(({ size }, index) => ({ tag: `layer-${index}`, size })),
  )
  return Buffer.concat(encodeRootfsFile(image, applied))
}

function contents({ info }: RootfsFile): object {
  const { layerIds, devices, virtual, counts } = info
  const rows = Array.from({ length: virtual.rowCount }, (_, index) => virtual.row(index))
  return { layerIds, devices, size: virtual.size, rows, counts, report: info.readReport() }
}

t.test('decodeRootfsFile() gives back what encodeRootfsFile() took', async (t) => {
  const decoded = decodeRootfsFile(encoded())
  const { layerIds, devices, virtual, counts, report } = applied
  const rows = Array.from({ length: virtual.rowCount }, (_, index) => virtual.row(index))
  t.equal(rows.length, 2)
  t.equal(report.entries.length, 2)
  t.strictSame(contents(decoded), { layerIds, devices, size: virtual.size, rows, counts, report })
  t.equal(decoded.image.length % 4096, 0)
  const tree = new ErofsImage(decoded.image)
  t.equal(tree.devices.length, 3)
  t.equal(tree.inodeCount, counts.inodes)
})

t.test('encodeRootfsFile() is deterministic and takes an empty stack', async (t) => {
  t.ok(encoded().equals(encoded()))
  const nothing = union([])
  const { image } = writeErofs(nothing.root, [])
  const decoded = decodeRootfsFile(Buffer.concat(encodeRootfsFile(image, nothing)))
  t.strictSame(contents(decoded), {
    layerIds: [],
    devices: [],
    size: 0,
    rows: [],
    counts: { inodes: 1, files: 0, bytes: 0, notUtf8: 0 },
    report: { entries: [], total: 0 },
  })
})

t.test('encodeRootfsFile() pads an image that is not a multiple of 4096', async (t) => {
  const bytes = Buffer.concat(encodeRootfsFile(Buffer.alloc(5000, 1), applied))
  t.equal(decodeRootfsFile(bytes).image.length, 8192)
})

t.test('decodeRootfsFile() refuses files that are cut anywhere', async (t) => {
  const bytes = encoded()
  const { length: imageSize } = decodeRootfsFile(bytes).image
  for (let size = imageSize; size < bytes.length; size++) {
    t.throws(() => decodeRootfsFile(bytes.subarray(0, size)), { code: 'CACHE_CORRUPT' })
  }
  t.throws(() => decodeRootfsFile(bytes.subarray(1)), { code: 'CACHE_CORRUPT' })
  t.throws(() => decodeRootfsFile(Buffer.alloc(0)), { code: 'CACHE_CORRUPT' })
})

t.test('decodeRootfsFile() answers or refuses forged bytes, and nothing else', async (t) => {
  const bytes = encoded()
  const { length: imageSize } = decodeRootfsFile(bytes).image
  let refused = 0
  for (let at = imageSize; at < bytes.length; at++) {
    for (const value of [0, 1, 0x7f, 0xff]) {
      const forged = Buffer.from(bytes)
      if (forged[at] === value) continue
      forged[at] = value
      try {
        contents(decodeRootfsFile(forged))
      } catch (error) {
        refused++
        if (!(error instanceof Error && 'code' in error && error.code === 'CACHE_CORRUPT'))
          throw error
      }
    }
  }
  t.ok(refused > 100)
})

t.test('decodeRootfsFile() leaves the report alone until it is asked for', async (t) => {
  const bytes = encoded()
  const footer = bytes.length - 72
  // The last bytes before the footer belong to the report: lengths of its entries go wrong.
  bytes.fill(0xff, footer - 20, footer)
  bytes.fill(0xff, footer - bytes.readUInt32LE(footer + 44), footer)
  const { info } = decodeRootfsFile(bytes)
  t.strictSame(info.counts, applied.counts)
  t.throws(() => info.readReport(), { code: 'CACHE_CORRUPT' })
})

t.test('rootfsKey() depends on every layer and on their order', async (t) => {
  const keys = [[], ['a'], ['a', 'b'], ['b', 'a'], ['ab'], ['a', 'b', 'a']].map(rootfsKey)
  t.equal(new Set(keys).size, keys.length)
  for (const key of keys) t.match(key, /^[0-9a-f]{64}$/)
  t.equal(rootfsKey(['a', 'b']), rootfsKey(['a', 'b']))
})
