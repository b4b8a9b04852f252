// Tables of contents that are authentic and hostile: none is believed, and none costs more than its size.

import t from 'tap'
import { decodeChunkTable, encodeChunkTable, type ChunkTable } from '../../src/layer/chunk-table.js'
import { LAZY_LAYOUT } from '../../src/layer/lazy-layout.js'
import { readLazyToc, type LazyContents } from '../../src/layer/lazy-toc.js'
import { parseStargzFooter } from '../../src/layer/stargz-footer.js'
import { parseDigest } from '../../src/image/digest.js'
import { seededRandom } from '../helpers/random.js'

const SHA = `sha256:${'5a'.repeat(32)}`
const DIGEST = parseDigest(SHA)
const SIZE = 1_000_000

function read(entries: unknown, text?: string): Promise<LazyContents> {
  const json = Buffer.from(text ?? JSON.stringify({ version: 1, entries }))
  return readLazyToc(json, { compression: 'gzip', digest: DIGEST, size: SIZE, contentEnd: 900_000 })
}

const reg = (fields: Record<string, unknown> = {}): Record<string, unknown> => ({
  ...{ name: 'a', type: 'reg', size: 1000, offset: 100, chunkDigest: SHA },
  ...fields,
})
const chunk = (fields: Record<string, unknown> = {}): Record<string, unknown> => ({
  ...{ name: 'a', type: 'chunk', offset: 500, chunkOffset: 600, chunkDigest: SHA },
  ...fields,
})

const REFUSED: { name: string; entries: unknown; why: RegExp; code?: string }[] = [
  { name: 'no object', entries: ['x'], why: /it is not an object/ },
  { name: 'an unknown type', entries: [{ name: 'a', type: 'door' }], why: /unknown type/ },
  { name: 'no type', entries: [{ name: 'a' }], why: /unknown type/ },
  { name: 'a path with ..', entries: [{ name: '../a', type: 'dir' }], why: /has a "\.\." part/ },
  {
    name: 'a link target with ..',
    entries: [{ name: 'a', type: 'hardlink', linkName: 'x/../../y' }],
    why: /has a "\.\." part/,
  },
  { name: 'a NUL in a name', entries: [{ name: 'a\0b', type: 'dir' }], why: /has a NUL/ },
  {
    name: 'a name that is too long',
    entries: [{ name: 'n'.repeat(300), type: 'dir' }],
    why: /longer than 255/,
    code: 'LIMIT_EXCEEDED',
  },
  { name: 'a whiteout of nothing', entries: [{ name: '.wh.', type: 'reg' }], why: /names no file/ },
  {
    name: 'a name that was not UTF-8',
    entries: [{ name: 'a\ufffd', type: 'dir' }],
    why: /not what the archive has/,
  },
  {
    name: 'a field in another case',
    entries: [reg({ Offset: 7 })],
    why: /differs from a known one only in case/,
  },
  {
    name: 'a field that Go takes for another one',
    entries: [reg({ ſize: 7 })],
    why: /differs from a known one only in case/,
  },
  {
    name: 'an entry that is all memory',
    entries: [reg({ extra: Array.from({ length: 600_000 }, () => []) })],
    why: /holds more than 524288 values/,
    code: 'LIMIT_EXCEEDED',
  },
  { name: 'a negative size', entries: [reg({ size: -1 })], why: /its size is not a number/ },
  { name: 'a fraction', entries: [reg({ offset: 1.5 })], why: /its offset is not a number/ },
  { name: 'a size beyond 2^53', entries: undefined, why: /its size is not a number/ },
  {
    name: 'a number in quotes',
    entries: [reg({ offset: '7' })],
    why: /its offset is not a number/,
  },
  {
    name: 'content behind the table',
    entries: [reg({ offset: 900_000 })],
    why: /lies outside the blob/,
  },
  {
    name: 'a chunk without a digest',
    entries: [reg({ chunkDigest: '' })],
    why: /without a digest/,
  },
  {
    name: 'a digest of another kind',
    entries: [reg({ chunkDigest: `md5:${'a'.repeat(32)}` })],
    why: /not a SHA-256/,
  },
  {
    name: 'one digest for a file in two chunks',
    entries: [reg({ chunkSize: 600, chunkDigest: '', digest: SHA }), chunk()],
    why: /without a digest/,
  },
  { name: 'a chunk of no file', entries: [chunk()], why: /does not follow its file/ },
  {
    name: 'a chunk of another file',
    entries: [reg({ chunkSize: 600 }), chunk({ name: 'b' })],
    why: /does not follow its file/,
  },
  {
    name: 'chunks that overlap',
    entries: [reg({ chunkSize: 600 }), chunk({ chunkOffset: 599 })],
    why: /overlap/,
  },
  {
    name: 'chunks with a gap',
    entries: [reg({ chunkSize: 600 }), chunk({ chunkOffset: 601 })],
    why: /overlap, leave a gap/,
  },
  {
    name: 'chunks that do not reach the end',
    entries: [reg({ chunkSize: 600 })],
    why: /leave a gap/,
  },
  { name: 'a chunk behind the end', entries: [reg({ chunkSize: 1001 })], why: /end behind it/ },
  {
    name: 'a chunk too many',
    entries: [reg(), chunk({ chunkOffset: 1000 })],
    why: /end behind it/,
  },
  {
    name: 'a chunk that takes too much memory',
    entries: [reg({ size: 2 ** 27 })],
    why: /takes more than/,
  },
  {
    name: 'one that lies too deep',
    entries: [reg({ innerOffset: 2 ** 27 })],
    why: /takes more than/,
  },
  {
    name: 'thousands of chunks of one byte',
    entries: Array.from({ length: 10_000 }, (_, n) =>
      (n === 0 ? reg : chunk)({ size: 10_000, offset: 100 + n, chunkOffset: n, chunkSize: 1 }),
    ),
    why: /takes too much to be read/,
  },
  {
    name: 'small files that each take much to be unpacked',
    entries: Array.from({ length: 5 }, (_, n) =>
      reg({ name: `f${n}`, size: 1, offset: 100 + n, innerOffset: 2 ** 26 - 1 }),
    ),
    why: /takes too much to be read/,
  },
  {
    name: 'a chunk of an unknown type',
    entries: [reg({ chunkType: 'mirror' })],
    why: /chunk of an unknown type/,
  },
  {
    name: 'a time that is none',
    entries: [reg({ modtime: 'yesterday' })],
    why: /its modtime is "yesterday"/,
  },
  {
    name: 'xattrs that are no object',
    entries: [reg({ xattrs: 'x' })],
    why: /xattrs are not an object/,
  },
  {
    name: 'an xattr that is not base64',
    entries: [reg({ xattrs: { 'user.a': '*' } })],
    why: /its xattr "user.a"/,
  },
  {
    name: 'more bytes than any layer has',
    entries: Array.from({ length: 2 ** 14 + 1 }, (_, n) => reg({ name: `f${n}`, size: 2 ** 26 })),
    why: /more than 1099511627776 bytes/,
    code: 'LIMIT_EXCEEDED',
  },
]

for (const { name, entries, why, code = 'LAYER_CORRUPT' } of REFUSED) {
  t.test(`readLazyToc() refuses ${name}`, async (t) => {
    const text = name.includes('2^53')
      ? `{"version":1,"entries":[${JSON.stringify(reg()).replace(':1000', ':9007199254740993')}]}`
      : undefined
    await t.rejects(read(entries, text), { code, message: why })
  })
}

t.test('readLazyToc() refuses documents that are none', async (t) => {
  for (const text of [
    '',
    '[]',
    '{"entries":[]}',
    '{"version":2,"entries":[]}',
    '{"version":1,"entries":[}',
    '{"version":1,"version":1}',
    '{"version":1,"entries":[],"Entries":[]}',
    '{"version":1,"entrieſ":[]}',
    '{"version":1,"entries":{}}',
  ]) {
    await t.rejects(read(undefined, text), text)
  }
  t.strictSame((await read([])).toc.entries, [])
  t.strictSame((await read(null)).toc.entries, [])
})

t.test(
  'readLazyToc() takes as many files as a layer can have in a piece, and large ones',
  async (t) => {
    const small = Array.from({ length: 5000 }, (_, n) => reg({ name: `f${n}`, size: 1, offset: n }))
    t.equal((await read(small)).toc.entries.length, 5000)
    const shared = small.map((entry, n) => ({ ...entry, offset: 7, innerOffset: 2 ** 25 + n }))
    t.equal((await read(shared)).toc.entries.length, 5000, 'of one member')
    const large = Array.from({ length: 6 }, (_, n) =>
      reg({ name: `f${n}`, size: 2 ** 26, offset: n }),
    )
    t.equal((await read(large)).toc.entries.length, 6)
  },
)

t.test('readLazyToc() lays files out in order, each on a block, holes left out', async (t) => {
  const { toc, chunks } = await read([
    { name: 'dir/', type: 'dir', mode: 0o40755 },
    reg({ name: 'one', size: 700, modtime: '2024-01-02T03:04:05.25+01:00' }),
    reg({ name: 'two', size: 3000, offset: 5000, chunkSize: 400 }),
    chunk({ name: 'two', offset: 5400, chunkOffset: 400, chunkSize: 600 }),
    chunk({
      name: 'two',
      offset: 5500,
      chunkOffset: 1000,
      chunkSize: 1000,
      chunkType: 'zeros',
      chunkDigest: '',
    }),
    chunk({ name: 'two', offset: 6000, innerOffset: 7, chunkOffset: 2000 }),
    reg({ name: 'hole', size: 2 ** 40, chunkType: 'zeros' }),
    reg({
      name: 'three',
      size: 1,
      offset: 20_000,
      endOffset: 20_050,
      chunkDigest: '',
      digest: SHA,
    }),
  ])
  const files = toc.entries.filter(({ size }) => size > 0)
  t.strictSame(
    files.map(({ path, dataOffset }) => [path, dataOffset]),
    [
      ['one', 0],
      ['two', 1024],
      ['hole', 1_048_576],
      ['three', 1_048_576],
    ],
  )
  t.strictSame(files[1]?.sparse, [
    { fileOffset: 0, deviceOffset: 1024, length: 1000 },
    { fileOffset: 2000, deviceOffset: 2024, length: 1000 },
  ])
  t.strictSame(files[2]?.sparse, [])
  t.strictSame(files[0]?.mtime, {
    seconds: Date.UTC(2024, 0, 2, 2, 4, 5) / 1000,
    nanoseconds: 250_000_000,
  })
  t.equal(toc.entries[0]?.mode, 0o755)
  t.equal(chunks.deviceSize, 1_049_088)
  const stored = [...Array(5).keys()].map((n) => chunks.records.readUInt32LE(n * 64 + 20))
  t.strictSame(
    stored,
    [700 + 11 + 4096, 400, 600, 1007 + 16 + 4096, 50].map((most, n) =>
      Math.min(most, [4900, 400, 600, 14_000, 50][n] ?? 0),
    ),
  )
  t.strictSame(decodeChunkTable(Buffer.concat(encodeChunkTable(chunks))), chunks)
})

t.test('LAZY_LAYOUT changes with the layout', async (t) => {
  const sizes = [...Array(9).keys()].map((n) => n * 300)
  const { chunks, toc } = await read(
    [...sizes, 524_287, 524_288, 1_048_577, 10].map((size, n) =>
      reg({ name: `f${n}`, size, offset: n * 100 + 1 }),
    ),
  )
  const places = toc.entries.map(({ dataOffset }) => dataOffset)
  t.equal(
    `${LAZY_LAYOUT} ${places.join()} ${chunks.deviceSize}`,
    // A large file begins at a piece, and nothing else is in its last one.
    '2 0,0,512,1536,2560,4096,5632,7680,10240,12800,1048576,2097152,4194304 4194816',
    'another layout needs another LAZY_LAYOUT: pieces of the old one are in caches',
  )
})

t.test('decodeChunkTable() of forged bytes gives nothing that reaches too far', async (t) => {
  const random = seededRandom(t)
  const { chunks } = await read(
    Array.from({ length: 5 }, (_, n) => reg({ name: `f${n}`, offset: n * 100 + 1 })),
  )
  const good = Buffer.concat(encodeChunkTable(chunks))
  for (let round = 0; round < 3000; round++) {
    const bad = Buffer.from(
      good.subarray(0, random.below(20) === 0 ? random.below(good.length) : good.length),
    )
    for (let n = 0; n <= random.below(3); n++) bad[random.below(bad.length)] = random.below(256)
    let table: ChunkTable
    try {
      table = decodeChunkTable(bad)
    } catch (error) {
      t.match(error, { code: 'CACHE_CORRUPT' })
      continue
    }
    let end = 0
    for (let at = 0; at < table.records.length; at += 64) {
      const device = Number(table.records.readBigUInt64LE(at))
      const stored =
        Number(table.records.readBigUInt64LE(at + 8)) + table.records.readUInt32LE(at + 20)
      if (device < end || stored > table.blobSize) t.fail(`chunk at ${at} of round ${round}`)
      end = device + table.records.readUInt32LE(at + 16)
    }
    if (end > table.deviceSize) t.fail(`round ${round} leaves the device`)
  }
})

t.test('parseStargzFooter()', async (t) => {
  const footer = (place: string, extra = '\x1a\0SG\x16\0'): Buffer =>
    Buffer.from(
      `\x1f\x8b\x08\x04\0\0\0\0\0\xff${extra}${place}\x01\0\0\xff\xff\0\0\0\0\0\0\0\0`,
      'latin1',
    )
  const at = (offset: number): string => offset.toString(16).padStart(16, '0') + 'STARGZ'
  const before = Buffer.alloc(100, 1)
  t.strictSame(parseStargzFooter(Buffer.concat([before, footer(at(77))]), 500), {
    tocOffset: 77,
    footerSize: 51,
  })
  t.strictSame(parseStargzFooter(Buffer.concat([before, footer(at(77), '\x16\0')]), 500), {
    tocOffset: 77,
    footerSize: 47,
  })
  for (const place of [
    at(0),
    at(449),
    at(2 ** 50),
    'fffffffffffffffFSTARGZ',
    'zzzzzzzzzzzzzzzzSTARGZ',
  ]) {
    t.equal(
      parseStargzFooter(footer(place), 500),
      'its footer leads to no table of contents',
      place,
    )
  }
  t.equal(parseStargzFooter(before, 500), 'it has no footer of eStargz')
  t.equal(parseStargzFooter(footer(at(77)).subarray(1), 500), 'it has no footer of eStargz')
  const external = footer('STARGZEXTERNALTOC', '\x15\0SG\x11\0')
  t.match(parseStargzFooter(external, 500), /in another image/)
})
