// The kernel mounts what the writer wrote and sees the tree; the reader answers as the kernel does.

import {
  closeSync,
  ftruncateSync,
  openSync,
  readdirSync,
  readSync,
  statSync,
  writeSync,
} from 'node:fs'
import { existsSync } from 'node:fs'
import { join } from 'node:path'
import t, { type Test } from 'tap'
import { alignUp, BLOCK_SIZE } from '../../src/erofs/format.js'
import type { ErofsNode } from '../../src/erofs/node.js'
import { ErofsImage } from '../../src/erofs/reader.js'
import { writeErofs } from '../../src/erofs/writer.js'
import {
  kernelSkipReason,
  MountFixture,
  snapshotMount,
  type MountKind,
} from '../helpers/erofs-kernel.js'
import {
  contiguous,
  diffSnapshots,
  directory,
  file,
  node,
  snapshotImage,
  snapshotNode,
  symlink,
  withoutLayout,
  xattrs,
} from '../helpers/erofs-tree.js'
import { randomTree } from '../helpers/random-erofs-tree.js'
import { SeededRandom } from '../helpers/seeded-random.js'

const skip = kernelSkipReason()
const SEED = Number(process.env['OCIMOUNT_TEST_SEED'] ?? 20_260_101)

const random = new SeededRandom(SEED)
const DEVICES = [random.bytes(300_000), random.bytes(70_001), Buffer.alloc(0)]
const TABLE = DEVICES.map((content, index) => ({ tag: `device-${index}`, size: content.length }))
/** What a device is read from has to be padded to whole blocks; without, reading its end is EIO. */
const PADDED = DEVICES.map((content) =>
  Buffer.concat([content], alignUp(content.length, BLOCK_SIZE)),
)

async function compareWithKernel(t: Test, root: ErofsNode, kind: MountKind): Promise<void> {
  const { image } = writeErofs(root, TABLE)
  const read = snapshotImage(new ErofsImage(image), DEVICES)
  const seen = await snapshotMount(new MountFixture(t).mount(image, PADDED, kind))
  t.strictSame(diffSnapshots(withoutLayout(seen), withoutLayout(snapshotNode(root, DEVICES))), [])
  t.strictSame(diffSnapshots(read, seen), [])
}

function everyKind(): ErofsNode {
  const hardLink = contiguous(512, 1000, { xattrs: xattrs({ 'user.a': 'x', 'security.none': '' }) })
  const acl = Buffer.from(
    '02000000' +
      '01000700ffffffff' +
      '02000500e8030000' +
      '04000500ffffffff' +
      '10000500ffffffff' +
      '20000500ffffffff',
    'hex',
  )
  const times: [number, number][] = [
    [-1, 999_999_999],
    [-(2 ** 35), 1],
    [2 ** 31, 0],
    [2 ** 34, 123_456_789],
    [0, 0],
  ]
  return directory(
    {
      hardLink,
      'hard link': hardLink,
      empty: file(0),
      hole: file(100_000),
      'one byte': contiguous(299_520, 1),
      'whole device': contiguous(0, 300_000),
      tail: file(369, [{ fileOffset: 0, device: 1, deviceOffset: 69_632, length: 369 }]),
      sparse: file(50_000, [
        { fileOffset: 4096, device: 0, deviceOffset: 1024, length: 8192 },
        { fileOffset: 40_960, device: 1, deviceOffset: 512, length: 9040 },
      ]),
      small: file(1500, [
        { fileOffset: 0, device: 0, deviceOffset: 5120, length: 512 },
        { fileOffset: 1024, device: 1, deviceOffset: 0, length: 476 },
      ]),
      huge: file(2 ** 53 - 1),
      sub: directory({ again: hardLink, deep: directory({}) }, { uid: 0xfffffffe, gid: 70_000 }),
      char: node(0o20666, { devMajor: 259, devMinor: 70_000 }),
      block: node(0o60660, { devMajor: 0xfff, devMinor: 0xfffff }),
      zero: node(0o20000, { devMajor: 0, devMinor: 0 }),
      fifo: node(0o10600),
      socket: node(0o140755),
      suid: contiguous(0, 1, { mode: 0o104755 }),
      big: contiguous(0, 1, {
        xattrs: xattrs({ 'trusted.big': 'b'.repeat(60_000), 'user.z': 'z' }),
      }),
      many: directory(
        {},
        {
          xattrs: xattrs({
            ...Object.fromEntries(
              Array.from({ length: 300 }, (_, index) => [`user.${index}`, 'v'.repeat(index)]),
            ),
            'trusted.1': '1'.repeat(65_000),
            'trusted.2': '2'.repeat(65_000),
            'trusted.3': '3'.repeat(65_000),
            'trusted.4': '4'.repeat(65_000),
          }),
        },
      ),
      acl: contiguous(0, 1, { mode: 0o100750, xattrs: xattrs({ 'system.posix_acl_access': acl }) }),
      inherit: directory(
        {},
        { xattrs: xattrs({ 'system.posix_acl_access': acl, 'system.posix_acl_default': acl }) },
      ),
      links: directory(
        Object.fromEntries(
          [1, 60, 300, 447, 448, 449, 511, 512, 513, 4095].map((length) => [
            String(length),
            symlink('l'.repeat(length)),
          ]),
        ),
      ),
      'link with xattrs': symlink('t'.repeat(400), {
        xattrs: xattrs({ 'trusted.l': 'l'.repeat(100) }),
      }),
      names: directory({
        '\x01\x7f\x80\xff': file(0),
        '\xc3\xa9': file(0),
        '!': file(0),
        '-': file(0),
        '...': file(0),
        '.a': file(0),
        ' \n': file(0),
        [`${'m'.repeat(254)}a`]: file(0),
        [`${'m'.repeat(254)}b`]: file(0),
        [`${'m'.repeat(254)}c`]: file(0),
        ['\xff'.repeat(255)]: file(0),
      }),
      times: directory(
        Object.fromEntries(
          times.map(([mtimeSeconds, mtimeNanoseconds], index) => [
            `t${index}`,
            file(0, [], { mtimeSeconds, mtimeNanoseconds }),
          ]),
        ),
      ),
    },
    { mode: 0o41777, xattrs: xattrs({ 'user.a': 'x', 'user.root': 'r' }) },
  )
}

for (const kind of ['file', 'loop'] as const) {
  const skip = kernelSkipReason(kind)
  t.test(`writeErofs() every kind of inode mounts over ${kind} devices`, { skip }, async (t) => {
    await compareWithKernel(t, everyKind(), kind)
  })
}

t.test('writeErofs() random trees mount as they are', { skip }, async (t) => {
  t.comment(`seed ${SEED}`)
  for (let round = 0; round < 4; round++) {
    await t.test(`round ${round}`, async (t) => {
      await compareWithKernel(t, randomTree(random, DEVICES), 'file')
    })
  }
})

t.test('writeErofs() an image without devices mounts', { skip }, async (t) => {
  const root = directory({ a: directory({}), b: symlink('a'), c: file(700) })
  const { image } = writeErofs(root, [])
  const seen = await snapshotMount(new MountFixture(t).mount(image, [], 'file'))
  t.strictSame(diffSnapshots(snapshotImage(new ErofsImage(image), []), seen), [])
})

t.test('writeErofs() a directory of 20,000 names answers for each', { skip }, async (t) => {
  const shared = file(0)
  const children = Object.fromEntries(
    Array.from({ length: 20_000 }, (_, index) => [`n${index * 7}`, shared]),
  )
  await compareWithKernel(t, directory({ many: directory(children) }), 'file')
})

t.test('writeErofs() a directory of 300,000 names lists and finds', { skip }, (t) => {
  const shared = file(0)
  const names = Array.from({ length: 300_000 }, (_, index) => `file-${index * 7}`)
  const { image } = writeErofs(
    directory(Object.fromEntries(names.map((name) => [name, shared]))),
    [],
  )
  const mountpoint = new MountFixture(t).mount(image, [], 'file')
  const listed = readdirSync(mountpoint)
  t.ok(listed.join('/') === names.sort().join('/'), `${listed.length} names, in order`)
  t.equal(statSync(join(mountpoint, 'file-0')).nlink, 300_000)
  for (let index = 0; index < 2_099_993; index += 4999) {
    if (existsSync(join(mountpoint, `file-${index}`)) !== (index % 7 === 0)) t.fail(`file-${index}`)
  }
  t.end()
})

t.test('writeErofs() reaches the end of a device of 2 TiB', { skip }, (t) => {
  const size = 0xffffffff * 512 - 100
  const fixture = new MountFixture(t)
  const path = join(fixture.path, 'device')
  const last = Buffer.from('the very last bytes')
  const output = openSync(path, 'w')
  try {
    ftruncateSync(output, size + 100)
    writeSync(output, last, 0, last.length, size - last.length)
  } finally {
    closeSync(output)
  }
  const start = size - 412
  const root = directory({
    end: file(412, [{ fileOffset: 0, device: 0, deviceOffset: start, length: 412 }]),
    all: file(size, [{ fileOffset: 0, device: 0, deviceOffset: 0, length: size }]),
    hole: file(2 ** 53 - 1),
  })
  const { image } = writeErofs(root, [{ tag: 'large', size }])
  const mountpoint = fixture.mount(image, [path], 'file')
  for (const [name, at] of [
    ['end', 412],
    ['all', size],
  ] as const) {
    const input = openSync(join(mountpoint, name), 'r')
    const read = Buffer.alloc(100)
    const length = readSync(input, read, 0, 100, at - last.length)
    closeSync(input)
    t.strictSame(read.subarray(0, length), last, name)
  }
  const hole = openSync(join(mountpoint, 'hole'), 'r')
  const zeros = Buffer.alloc(100, 1)
  t.equal(readSync(hole, zeros, 0, 100, 2 ** 53 - 51), 50)
  closeSync(hole)
  t.strictSame(zeros.subarray(0, 50), Buffer.alloc(50))
  t.end()
})
