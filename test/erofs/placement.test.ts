import t from 'tap'
import {
  alignUp,
  BLOCK_SIZE,
  CHUNK_BLKBITS_MASK,
  S_IFDIR,
  S_IFMT,
  S_IFLNK,
} from '../../src/erofs/format.js'
import { endOfXattrs, readInode, type StoredInode } from '../../src/erofs/inode-reader.js'
import type { ErofsNode } from '../../src/erofs/node.js'
import { ErofsImage } from '../../src/erofs/reader.js'
import { placeTree } from '../../src/erofs/placement.js'
import { walkTree } from '../../src/erofs/tree-walk.js'
import { writeErofs } from '../../src/erofs/writer.js'
import { XattrTable } from '../../src/erofs/xattr-table.js'
import {
  directory,
  diffSnapshots,
  file,
  snapshotImage,
  snapshotNode,
  symlink,
  withoutLayout,
  xattrs,
} from '../helpers/erofs-tree.js'
import { randomTree } from '../helpers/random-erofs-tree.js'
import { SeededRandom } from '../helpers/seeded-random.js'

interface Range {
  readonly what: string
  readonly start: number
  readonly end: number
}

/** Gives every inode of an image once. */
function inodesOf(bytes: Buffer): StoredInode[] {
  const image = new ErofsImage(bytes)
  const nids = new Set([image.rootNid])
  for (const nid of nids) {
    if ((image.inode(nid).mode & S_IFMT) !== S_IFDIR) continue
    for (const entry of image.readdir(nid)) nids.add(entry.nid)
  }
  return Array.from(nids, (nid) => readInode(bytes, image.size, nid))
}

/** Gives what an inode takes: itself with what is behind it, and its blocks. */
function rangesOf(inode: StoredInode): Range[] {
  const start = inode.nid * 32
  const end = endOfXattrs(inode)
  if (inode.layout === 4) {
    const chunks = Math.ceil(inode.size / 2 ** (9 + (inode.union & CHUNK_BLKBITS_MASK)))
    return [{ what: 'file', start, end: alignUp(end, 8) + 8 * chunks }]
  }
  const tail = inode.layout === 2 ? inode.size % BLOCK_SIZE : 0
  const blocks = alignUp(inode.size - tail, BLOCK_SIZE)
  const blocksStart = inode.union * BLOCK_SIZE
  const ranges = [{ what: 'inode', start, end: end + tail }]
  const hasBlocks = (inode.mode & S_IFMT) === S_IFDIR || (inode.mode & S_IFMT) === S_IFLNK
  if (hasBlocks && blocks > 0)
    ranges.push({ what: 'blocks', start: blocksStart, end: blocksStart + blocks })
  return ranges
}

function isInsideOneBlock(start: number, end: number): boolean {
  return Math.floor(start / BLOCK_SIZE) === Math.floor((end - 1) / BLOCK_SIZE)
}

t.test('placeTree() gives everything a place of its own that the kernel accepts', (t) => {
  const random = new SeededRandom(Number(process.env['OCIMOUNT_TEST_SEED'] ?? 11))
  t.comment(`seed ${random.seed}`)
  const contents = [random.bytes(100_000), random.bytes(1000)]
  for (let round = 0; round < 40; round++) {
    const root = randomTree(random, contents)
    const { image } = writeErofs(
      root,
      contents.map((content, index) => ({ tag: `d${index}`, size: content.length })),
    )
    t.strictSame(
      diffSnapshots(
        withoutLayout(snapshotImage(new ErofsImage(image), contents)),
        withoutLayout(snapshotNode(root, contents)),
      ),
      [],
    )
    const ranges: Range[] = [{ what: 'superblock', start: 0, end: 1152 }]
    const table = image.readUInt16LE(1024 + 88) * 128
    ranges.push({ what: 'device table', start: table, end: table + 256 })
    for (const inode of inodesOf(image)) {
      ranges.push(...rangesOf(inode))
      if (inode.layout !== 2) continue
      const tail = endOfXattrs(inode)
      const isLink = (inode.mode & S_IFMT) === S_IFLNK
      const first = isLink ? inode.nid * 32 : tail
      if (!isInsideOneBlock(first, tail + (inode.size % BLOCK_SIZE)))
        t.fail(`the tail of ${inode.nid} is cut`)
    }
    ranges.sort((a, b) => a.start - b.start)
    const clashes = ranges.filter(
      (range, index) => index > 0 && range.start < ranges[index - 1]!.end,
    )
    t.strictSame(clashes, [])
    t.ok(ranges.at(-1)!.end <= image.length)
  }
  t.end()
})

t.test('placeTree() wastes little', (t) => {
  // A crowd of directories with a few files each leaves gaps before tails; files fill them.
  const root = directory(
    Object.fromEntries(
      Array.from({ length: 400 }, (_, index) => [
        `directory ${index}`,
        directory(
          Object.fromEntries(
            Array.from({ length: index % 23 }, (_, child) => [`child ${child}`, file(900)]),
          ),
        ),
      ]),
    ),
  )
  const { image } = writeErofs(root, [])
  const used = inodesOf(image)
    .flatMap(rangesOf)
    .reduce((sum, range) => sum + alignUp(range.end - range.start, 32), 0)
  t.ok(image.length < used * 1.05 + 4096, `${image.length} bytes for ${used}`)
  t.end()
})

t.test('placeTree() takes blocks where a tail fits behind no inode', (t) => {
  const deep = directory(
    { l: symlink('x'.repeat(448), { xattrs: xattrs({ 'trusted.a': 'a' }) }) },
    { xattrs: xattrs({ 'trusted.a': 'a'.repeat(600) }) },
  )
  const { image } = writeErofs(directory({ deep }), [])
  const links = inodesOf(image).filter((inode) => (inode.mode & S_IFMT) === S_IFLNK)
  t.strictSame(
    links.map((inode) => inode.layout),
    [0],
  )
  t.end()
})

t.test('placeTree() bounds what sparse files cost', (t) => {
  const sparse = (): ErofsNode => {
    return file(2 ** 25, [{ fileOffset: 512, device: 0, deviceOffset: 0, length: 512 }])
  }
  const files = Array.from({ length: 513 }, (_, index) => [String(index), sparse()] as const)
  const tag = { tag: 'a', size: 512 }
  t.throws(() => writeErofs(directory(Object.fromEntries(files)), [tag]), {
    code: 'LIMIT_EXCEEDED',
    details: { count: 513 * 65_536, limit: 2 ** 25 },
  })
  t.end()
})

t.test('placeTree() throws before an image would be larger than a Buffer', (t) => {
  const tree = walkTree(directory({}), { devices: [], xattrs: new XattrTable() })
  t.throws(() => placeTree(tree, { deviceCount: 0, sharedXattrsSize: 2 ** 32 }), {
    code: 'LIMIT_EXCEEDED',
  })
  t.end()
})
