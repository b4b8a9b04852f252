import t from 'tap'

import { byteString, byteStringOf, type ByteString } from '../../src/byte-string.js'
import { isOcimountError } from '../../src/errors.js'
import { decodeToc, encodeToc } from '../../src/layer/toc-file.js'
import type { Toc, TocEntry, TocEntryType } from '../../src/layer/toc.js'
import type { DataSegment } from '../../src/tar/entry.js'
import { seededRandom, type Random } from '../helpers/random.js'

const MAX = Number.MAX_SAFE_INTEGER
const TYPES: readonly TocEntryType[] = [
  'file',
  'directory',
  'symlink',
  'hardlink',
  'char',
  'block',
  'fifo',
  'whiteout',
  'opaque',
]

const roundTrip = (toc: Toc): Toc => decodeToc(Buffer.concat(encodeToc(toc)))

function entryOf(fields: Partial<TocEntry>): TocEntry {
  return {
    path: byteStringOf('x'),
    type: 'file',
    mode: 0o644,
    uid: 0,
    gid: 0,
    mtime: { seconds: 0, nanoseconds: 0 },
    size: 0,
    headerOffset: 0,
    dataOffset: 512,
    linkTarget: byteStringOf(''),
    devMajor: 0,
    devMinor: 0,
    xattrs: undefined,
    sparse: undefined,
    ...fields,
  }
}

const xattrs = new Map([
  [byteStringOf('security.capability'), Buffer.from([0, 1, 255])],
  [byteStringOf('user.empty'), Buffer.alloc(0)],
])

for (const { name, entry } of [
  { name: 'a plain file', entry: entryOf({ size: 100 }) },
  { name: 'the root', entry: entryOf({ type: 'directory', path: byteStringOf('') }) },
  {
    name: 'large numbers',
    entry: entryOf({ uid: MAX, gid: 2 ** 32, mode: 0o7777, size: 2 ** 52 }),
  },
  { name: 'a time before 1970', entry: entryOf({ mtime: { seconds: -1, nanoseconds: 1 } }) },
  {
    name: 'the first time',
    entry: entryOf({ mtime: { seconds: -MAX, nanoseconds: 999_999_999 } }),
  },
  { name: 'the last time', entry: entryOf({ mtime: { seconds: MAX, nanoseconds: 0 } }) },
  {
    name: 'a name that is no text',
    entry: entryOf({ path: byteString(Buffer.from('ff2f80', 'hex')) }),
  },
  { name: 'a symlink', entry: entryOf({ type: 'symlink', linkTarget: byteStringOf('../../é') }) },
  { name: 'a hard link', entry: entryOf({ type: 'hardlink', linkTarget: byteStringOf('a/b') }) },
  { name: 'a device', entry: entryOf({ type: 'block', devMajor: 4095, devMinor: 1048575 }) },
  { name: 'xattrs', entry: entryOf({ xattrs }) },
  { name: 'a sparse file without data', entry: entryOf({ size: MAX, sparse: [] }) },
  {
    name: 'a sparse file',
    entry: entryOf({
      size: 2 ** 40,
      sparse: [
        { fileOffset: 0, deviceOffset: 1024, length: 512 },
        { fileOffset: 2 ** 39, deviceOffset: 1536, length: 1 },
        { fileOffset: 2 ** 40, deviceOffset: 512, length: 0 },
      ],
    }),
  },
]) {
  t.test(`decodeToc() gives back ${name}`, async (t) => {
    const toc: Toc = { entries: [entry], notes: [], deviceSize: MAX }
    t.strictSame(roundTrip(toc), toc)
  })
}

t.test('decodeToc() gives back an empty toc and its notes', async (t) => {
  t.strictSame(roundTrip({ entries: [], notes: [], deviceSize: 0 }), {
    entries: [],
    notes: [],
    deviceSize: 0,
  })
  const notes = [
    { kind: 'global-header', path: byteString(Buffer.from([0xff])), detail: 'a – b' },
    { kind: 'clamped', path: byteStringOf(''), detail: '' },
  ]
  t.strictSame(roundTrip({ entries: [], notes, deviceSize: 5 }).notes, notes)
})

t.test('encodeToc() keeps equal xattrs once', async (t) => {
  const value = Buffer.alloc(1000, 'label')
  const entries = Array.from({ length: 100 }, () =>
    entryOf({ xattrs: new Map([[byteStringOf('user.label'), Buffer.from(value)]]) }),
  )
  const bytes = Buffer.concat(encodeToc({ entries, notes: [], deviceSize: 512 }))
  t.ok(bytes.length < 4000, `${bytes.length} bytes`)
  const decoded = decodeToc(bytes)
  t.strictSame(decoded.entries, entries)
  t.equal(decoded.entries[0]?.xattrs, decoded.entries[99]?.xattrs, 'shared in memory too')
})

t.test('decodeToc() gives back whatever a builder can make', async (t) => {
  const random = seededRandom(t)
  for (let round = 0; round < 60; round++) {
    const toc = randomToc(random)
    t.strictSame(roundTrip(toc), toc)
  }
})

t.test('decodeToc() says nothing but CACHE_CORRUPT to forged bytes', async (t) => {
  const random = seededRandom(t)
  let accepted = 0
  for (let round = 0; round < 4000; round++) {
    const bytes = Buffer.concat(encodeToc(randomToc(random, 6)))
    for (let flips = random.below(4); flips >= 0; flips--) {
      bytes[random.below(bytes.length)] = random.pick([0, 1, 0x7f, 0x80, 0xff, random.below(256)])
    }
    const forged = random.below(5) === 0 ? bytes.subarray(0, random.below(bytes.length)) : bytes
    try {
      const toc = decodeToc(forged)
      accepted++
      for (const { dataOffset, size, sparse, type, path } of toc.entries) {
        if (type === 'file' && sparse === undefined && dataOffset + size > toc.deviceSize) {
          t.fail('content outside the device')
        }
        if (path.split('/').includes('..')) t.fail('a path that is not clean')
      }
    } catch (error) {
      if (!isOcimountError(error, 'CACHE_CORRUPT')) throw error
    }
  }
  t.ok(accepted > 0 && accepted < 4000, `${accepted} of 4000 still made sense`)
})

t.test(
  'decodeToc() refuses every cut, every other version and more bytes than there should be',
  async (t) => {
    const toc: Toc = { entries: [entryOf({ xattrs, size: 9 })], notes: [], deviceSize: 1024 }
    const bytes = Buffer.concat(encodeToc(toc))
    for (let length = 0; length < bytes.length; length++) {
      t.throws(() => decodeToc(bytes.subarray(0, length)), { code: 'CACHE_CORRUPT' }, `${length}`)
    }
    t.throws(() => decodeToc(Buffer.concat([bytes, Buffer.alloc(1)])), { code: 'CACHE_CORRUPT' })
    const other = Buffer.from(bytes)
    other[6] = 2
    t.throws(() => decodeToc(other), { code: 'CACHE_CORRUPT', message: /another version/ })
  },
)

t.test('decodeToc() believes no count before the bytes are there', async (t) => {
  const huge = [0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x0f]
  for (const tail of [huge, [0, ...huge], [0, 0, ...huge], [1, ...huge], [1, 1, ...huge]]) {
    const bytes = Buffer.concat([Buffer.from('OCITOC\x01\x00', 'latin1'), Buffer.from(tail)])
    t.throws(() => decodeToc(bytes), { code: 'CACHE_CORRUPT' })
  }
  const endless = Buffer.concat([Buffer.from('OCITOC\x01', 'latin1'), Buffer.alloc(50, 0xff)])
  t.throws(() => decodeToc(endless), { code: 'CACHE_CORRUPT', message: /a number is too l/ })
})

for (const { name, entry } of [
  { name: 'a path with ..', entry: entryOf({ path: byteStringOf('a/../b') }) },
  { name: 'an absolute path', entry: entryOf({ path: byteStringOf('/a') }) },
  { name: 'content beyond the device', entry: entryOf({ size: 513 }) },
  { name: 'a header beyond the device', entry: entryOf({ headerOffset: 2000, dataOffset: 512 }) },
  { name: 'a link out', entry: entryOf({ type: 'hardlink', linkTarget: byteStringOf('../x') }) },
  {
    name: 'a segment beyond the file',
    entry: entryOf({ size: 4, sparse: [{ fileOffset: 0, deviceOffset: 512, length: 5 }] }),
  },
  {
    name: 'a segment beyond the device',
    entry: entryOf({ size: 600, sparse: [{ fileOffset: 0, deviceOffset: 512, length: 513 }] }),
  },
  { name: 'too many nanoseconds', entry: entryOf({ mtime: { seconds: 0, nanoseconds: 1e9 } }) },
]) {
  t.test(`decodeToc() refuses ${name}`, async (t) => {
    const toc: Toc = { entries: [entry], notes: [], deviceSize: 1024 }
    t.throws(() => roundTrip(toc), { code: 'CACHE_CORRUPT' })
  })
}

function randomToc(random: Random, most = 40): Toc {
  const deviceSize = 1024 + random.below(2 ** 31) * random.pick([1, 2 ** 20])
  const entries = Array.from({ length: random.below(most) }, () => randomEntry(random, deviceSize))
  const notes = Array.from({ length: random.below(3) }, () => ({
    kind: random.pick(['clamped', 'unknown-type']),
    path: randomPath(random),
    detail: random.pick(['', 'type "x"', '–']),
  }))
  return { entries, notes, deviceSize }
}

function randomEntry(random: Random, deviceSize: number): TocEntry {
  const type = random.pick(TYPES)
  const isLink = type === 'symlink' || type === 'hardlink'
  const isDevice = type === 'char' || type === 'block'
  const headerOffset = random.below(deviceSize - 600)
  const dataOffset = headerOffset + 512
  const size = type === 'file' ? random.below(deviceSize - dataOffset) : 0
  return entryOf({
    type,
    path: randomPath(random),
    mode: random.below(0o10000),
    uid: random.pick([0, 1000, 2 ** 31, MAX]),
    gid: random.below(70_000),
    mtime: {
      seconds: random.pick([0, -1, 1_700_000_000, 2 ** 40]),
      nanoseconds: random.below(3) === 0 ? random.below(1e9) : 0,
    },
    headerOffset,
    dataOffset,
    size,
    linkTarget: isLink ? randomPath(random) : byteStringOf(''),
    devMajor: isDevice ? random.below(5000) : 0,
    devMinor: isDevice ? random.below(2 ** 20) : 0,
    xattrs: random.below(4) === 0 ? new Map([...xattrs].slice(random.below(2))) : undefined,
    sparse:
      type === 'file' && random.below(3) === 0
        ? randomSegments(random, size, dataOffset)
        : undefined,
  })
}

function randomSegments(random: Random, size: number, dataOffset: number): DataSegment[] {
  const segments: DataSegment[] = []
  let fileOffset = 0
  let deviceOffset = dataOffset
  while (segments.length < 5 && size - fileOffset > 10) {
    fileOffset += random.below(Math.floor((size - fileOffset) / 2))
    const length = random.below(Math.min(size - fileOffset, 100_000))
    segments.push({ fileOffset, deviceOffset, length })
    fileOffset += length
    deviceOffset += length
  }
  return segments
}

function randomPath(random: Random): ByteString {
  const parts = Array.from({ length: random.below(5) }, () =>
    random.pick(['usr', 'lib', 'share', 'é', '\xff\xfe', 'a'.repeat(1 + random.below(255)), '...']),
  )
  return byteString(Buffer.from(parts.join('/'), 'latin1'))
}
