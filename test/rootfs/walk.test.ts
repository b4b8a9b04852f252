import t from 'tap'
import { byteStringOf, type ByteString } from '../../src/byte-string.js'
import { ErofsImage } from '../../src/erofs/reader.js'
import { writeErofs } from '../../src/erofs/writer.js'
import { walkDirectories, walkTree } from '../../src/rootfs/walk.js'
import { dir, file, layer, symlink } from '../helpers/build-layer.js'
import { union } from './describe-tree.js'

const { root, devices } = union([
  layer(
    file('b/y/1'),
    file('b/x'),
    dir('a'),
    file('c', 'x'),
    symlink('b/z', '..'),
    file('b/y.d', 'sorts between y and y/1'),
  ),
])
const slots = devices.map(({ size }) => ({ tag: 'layer', size }))
const image = new ErofsImage(writeErofs(root, slots).image)
const slash = byteStringOf('/')

t.test('walkTree() gives names in the order of tree', async (t) => {
  t.strictSame(
    [...walkTree(image, slash, image.rootNid)].map(
      ({ path, depth, isLast }) => `${path} ${depth}${isLast ? ' last' : ''}`,
    ),
    ['/a 1', '/b 1', '/b/x 2', '/b/y 2', '/b/y/1 3 last', '/b/y.d 2', '/b/z 2 last', '/c 1 last'],
  )
})

t.test('walkTree() stops at a depth', async (t) => {
  const names = (maxDepth: number): string[] =>
    [...walkTree(image, '' as ByteString, image.rootNid, { maxDepth })].map(({ path }) => path)
  t.strictSame(names(0), [])
  t.strictSame(names(1), ['a', 'b', 'c'])
  t.strictSame(names(2), ['a', 'b', 'b/x', 'b/y', 'b/y.d', 'b/z', 'c'])
})

t.test('walkDirectories() gives directories in the order of ls -R', async (t) => {
  const list = (maxDepth?: number): string[] =>
    [
      ...walkDirectories(image, slash, image.rootNid, maxDepth === undefined ? {} : { maxDepth }),
    ].map(
      ({ path, depth, names }) => `${depth} ${path}: ${names.map(({ name }) => name).join(' ')}`,
    )
  t.strictSame(list(), ['0 /: a b c', '1 /a: ', '1 /b: x y y.d z', '2 /b/y: 1'])
  t.strictSame(list(1), ['0 /: a b c'])
})

t.test('both refuse a directory that turns up inside itself', async (t) => {
  const circle = Object.create(image, {
    inode: { value: () => ({ mode: 0o040755 }) },
    readdir: { value: (nid: number) => [{ name: 'x', nid, type: 2 }] },
  }) as ErofsImage
  t.throws(() => [...walkTree(circle, slash, 36)], { code: 'CACHE_CORRUPT' })
  t.throws(() => [...walkDirectories(circle, slash, 36)], { code: 'CACHE_CORRUPT' })
})

t.test('both go 2,000 levels deep and through wide directories', async (t) => {
  const wide = Array.from({ length: 3000 }, (_, n) => file(`w/${n}`))
  const deep = union([layer(file('d/'.repeat(2000) + 'x'), ...wide)])
  const tree = new ErofsImage(writeErofs(deep.root, [{ tag: 'l', size: 1 << 24 }]).image)
  t.equal([...walkTree(tree, slash, tree.rootNid)].length, 2000 + 1 + 3001)
  t.equal([...walkDirectories(tree, slash, tree.rootNid)].length, 2002)
})
