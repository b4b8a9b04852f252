import t, { type Test } from 'tap'
import { ErofsImage } from '../../src/erofs/reader.js'
import { writeErofs } from '../../src/erofs/writer.js'
import type { ErofsNode } from '../../src/erofs/node.js'
import {
  contiguous,
  directory,
  file,
  name,
  node,
  snapshotImage,
  snapshotNode,
  symlink,
  xattrs,
} from '../helpers/erofs-tree.js'

const DEVICES = [{ tag: 'ab'.repeat(32), size: 1_000_000 }]

function roundTrip(t: Test, root: ErofsNode): void {
  const { image } = writeErofs(root, DEVICES)
  t.strictSame(snapshotImage(new ErofsImage(image)), snapshotNode(root))
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
