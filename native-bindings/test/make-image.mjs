// Writes the image and devices that the tests of the FUSE server mount: `node make-image.mjs WRITER.mjs DIRECTORY`, where
// WRITER.mjs is src/erofs/writer.ts, bundled. In DIRECTORY: image, plain-image (no xattr at all), small-image (to fuzz), dev0 …
// dev2, and rows, by which dev2 can be made of the other two.

import { writeFileSync } from 'node:fs'
import { join } from 'node:path'

const [writer, directory] = process.argv.slice(2)
const { writeErofs } = await import(writer)

const MIB = 2 ** 20
const S_IFDIR = 0o040000
const S_IFREG = 0o100000
const S_IFLNK = 0o120000

function noise(size, seed) {
  const bytes = Buffer.alloc(size)
  let state = seed
  for (let index = 0; index < size; index++) {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0
    bytes[index] = state >>> 24
  }
  return bytes
}

const devices = [noise(4 * MIB + 100, 1), noise(6 * MIB + 777, 2), Buffer.alloc(2 * MIB + 5)]
const rows = []
for (let index = 0; index < 690; index++) {
  const row = { at: index * 2999, device: index % 2, from: 12345 + index * 4001, length: 2048 }
  rows.push(row)
  devices[row.device].copy(devices[2], row.at, row.from, row.from + row.length)
}
const table = Buffer.alloc(rows.length * 32)
for (const [index, row] of rows.entries()) {
  table.writeBigUInt64LE(BigInt(row.at), index * 32)
  table.writeBigUInt64LE(BigInt(row.from), index * 32 + 8)
  table.writeBigUInt64LE(BigInt(row.length), index * 32 + 16)
  table.writeUInt32LE(row.device, index * 32 + 24)
}

let hasXattrs = true
let isSmall = false
function node(mode, rest = {}) {
  const { xattrs, ...others } = rest
  return {
    mode,
    uid: 0,
    gid: 0,
    mtimeSeconds: 1700000000,
    mtimeNanoseconds: 123456789,
    xattrs: xattrs === undefined || !hasXattrs ? undefined : new Map(Object.entries(xattrs)),
    ...others,
  }
}
function file(size, extents, rest) {
  return node((rest?.perm ?? 0o644) | S_IFREG, { size, extents, ...rest })
}
function whole(device, deviceOffset, size, rest) {
  return file(size, [{ fileOffset: 0, device, deviceOffset, length: size }], rest)
}
const dir = (children, rest) => node(S_IFDIR | 0o755, { children: new Map(children), ...rest })
const link = (target) => node(S_IFLNK | 0o777, { target })

function tree() {
  const acl = Buffer.from(
    '0200000001000600ffffffff02000400e803000004000400ffffffff10000400ffffffff20000000ffffffff',
    'hex',
  )
  const shared = { 'user.shared': Buffer.from('one value for all') }
  const hello = whole(0, 512, 1000, { xattrs: { ...shared, 'user.a': Buffer.from('value a') } })
  const many = []
  for (let index = 0; index < (isSmall ? 50 : 20000); index++) {
    many.push([
      `file-${index}`,
      whole(0, (index % 4000) * 512, (index % 900) + 1, { xattrs: shared }),
    ])
  }
  return dir([
    ['hello', hello],
    ['hello-too', hello],
    ['empty', file(0, [])],
    [
      'program',
      whole(0, 0, 4096, {
        perm: 0o755,
        xattrs: {
          'security.capability': Buffer.from('0100000200040000000000000000000000000000', 'hex'),
        },
      }),
    ],
    ['setuid', whole(0, 0, 10, { perm: 0o4755, uid: 123456, gid: 65535 })],
    ['secret', whole(0, 1024, 10, { perm: 0o600, uid: 77 })],
    ['region', whole(0, 512, 4 * MIB - 1024 + 100)],
    ['tail', whole(0, 4 * MIB, 100)],
    ['pieces', whole(1, 0, 6 * MIB + 777)],
    ['pieces-odd', whole(1, 512 * 2047, 3 * MIB + 1)],
    ['virtual', whole(2, 0, 2 * MIB + 5)],
    [
      'sparse',
      file(20 * MIB, [
        { fileOffset: 4096, device: 0, deviceOffset: 8192, length: 4096 },
        { fileOffset: MIB, device: 1, deviceOffset: 4096, length: 8192 },
        { fileOffset: 16 * MIB, device: 0, deviceOffset: 512, length: 4096 },
      ]),
    ],
    ['hole', file(3 * MIB + 5, [])],
    ['old', file(0, [], { mtimeSeconds: -86400, mtimeNanoseconds: 5 })],
    ['future', file(0, [], { mtimeSeconds: 7e9, mtimeNanoseconds: 999999999 })],
    ['n'.repeat(255), file(0, [])],
    ['\xff\xfe not utf-8', file(0, [])],
    ['link', link('hello')],
    ['link-long', link('x/'.repeat(2047) + 'y')],
    ['link-to-nothing', link('/nowhere')],
    ['fifo', node(0o010644)],
    ['socket', node(0o140644)],
    ['char', node(0o020644, { devMajor: 1, devMinor: 3 })],
    ['block', node(0o060644, { devMajor: 259, devMinor: 70000 })],
    ['acl', file(0, [], { xattrs: { 'system.posix_acl_access': acl } })],
    [
      'xattrs',
      file(0, [], {
        xattrs: {
          ...shared,
          'user.large': noise(isSmall ? 60 : 60000, 7),
          'user.empty': Buffer.alloc(0),
          'trusted.overlay.opaque': Buffer.from('y'),
          [`user.${'l'.repeat(250)}`]: Buffer.from('long name'),
        },
      }),
    ],
    ['many', dir(many)],
    ['deep', dir([['er', dir([['and', dir([['deeper', dir([])]])]])]], { perm: 0o700 })],
    ['bare', dir([])],
  ])
}

const table3 = devices.map((bytes, index) => ({ tag: `device-${index}`, size: bytes.length }))
writeFileSync(join(directory, 'image'), writeErofs(tree(), table3).image)
hasXattrs = false
writeFileSync(join(directory, 'plain-image'), writeErofs(tree(), table3).image)
hasXattrs = true
isSmall = true
writeFileSync(join(directory, 'small-image'), writeErofs(tree(), table3).image)
for (const [index, bytes] of devices.entries()) writeFileSync(join(directory, `dev${index}`), bytes)
writeFileSync(join(directory, 'rows'), table)
