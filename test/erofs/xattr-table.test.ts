import t from 'tap'
import type { ByteString } from '../../src/byte-string.js'
import type { ErofsNode } from '../../src/erofs/node.js'
import { ErofsImage } from '../../src/erofs/reader.js'
import { writeErofs } from '../../src/erofs/writer.js'
import { directory, file, name, xattrs } from '../helpers/erofs-tree.js'

/** Writes a directory with one file per set and reads their attributes back. */
function readBack(sets: readonly Record<string, string>[]): {
  readonly image: Buffer
  readonly values: Record<string, string>[]
  readonly order: ByteString[][]
} {
  const children = sets.map((set, index): [string, ErofsNode] => {
    return [String(index), file(0, [], { xattrs: xattrs(set) })]
  })
  const { image } = writeErofs(directory(Object.fromEntries(children)), [])
  const reader = new ErofsImage(image)
  const nids = sets.map((_, index) => reader.lookup(reader.rootNid, name(String(index)))!)
  const order = nids.map((nid) => reader.listxattr(nid))
  const values = nids.map((nid, index) =>
    Object.fromEntries(
      order[index]!.map((key) => [key, reader.getxattr(nid, key)!.toString('latin1')]),
    ),
  )
  return { image, values, order }
}

function occurrences(image: Buffer, text: string): number {
  return image.toString('latin1').split(text).length - 1
}

t.test('XattrTable writes what several inodes have once', (t) => {
  const common = 'common '.repeat(20)
  const sets = [
    { 'user.common': common, 'user.own': 'first' },
    { 'user.common': common, 'trusted.common': common },
    { 'user.common': `${common}!`, 'security.empty': '' },
    {},
    { 'user.common': common },
  ]
  const { image, values, order } = readBack(sets)
  t.strictSame(values, sets)
  t.equal(occurrences(image, common), 3, 'shared, under another name, and another value')
  t.strictSame(order[0], ['user.own', 'user.common'], 'those of the inode come first')
  t.end()
})

t.test('XattrTable holds values of 65,535 bytes and moves out what an inode cannot hold', (t) => {
  const large = Object.fromEntries(
    Array.from({ length: 9 }, (_, index) => [`user.${index}`, String(index).repeat(65_535)]),
  )
  t.strictSame(readBack([large]).values, [large])
  t.end()
})

t.test('XattrTable keeps the 256th shared attribute of an inode behind the inode', (t) => {
  const many = Object.fromEntries(
    Array.from({ length: 300 }, (_, index) => [
      `user.${String(index).padStart(3, '0')}`,
      `v${index}`,
    ]),
  )
  t.strictSame(readBack([many, many]).values, [many, many])
  t.end()
})

t.test('XattrTable throws when an inode has more than fits', (t) => {
  const tooMany = Object.fromEntries(
    Array.from({ length: 5000 }, (_, index) => [`user.${index}`, String(index).padEnd(80)]),
  )
  t.throws(() => readBack([tooMany]), { code: 'LIMIT_EXCEEDED' })
  t.end()
})

t.test('XattrTable throws for a name that EROFS cannot hold', (t) => {
  t.throws(() => readBack([{ 'other.name\x1b': '' }]), {
    code: 'INTERNAL',
    message: 'Cannot write extended attribute other.name\\x1b: EROFS has no such name prefix',
  })
  t.end()
})
