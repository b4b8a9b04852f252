import { constants, deflateRawSync, gzipSync, crc32 } from 'node:zlib'

import t from 'tap'

import { decompress } from '../../src/compression/decompress.js'
import { OcimountError } from '../../src/errors.js'
import { seededRandom } from '../helpers/random.js'
import { collect, expand, filter, inPieces, sampleBytes, toolMissing } from '../helpers/streams.js'

const SAMPLE = sampleBytes(300_000)
const GZIP = gzipSync(SAMPLE)

/** A member with whichever optional header fields are wanted (RFC 1952 2.3). */
function member(
  content: Buffer,
  fields: { extra?: Buffer; name?: string; comment?: string; hasHeaderCrc?: boolean } = {},
): Buffer {
  const { extra, name, comment, hasHeaderCrc = false } = fields
  const flags =
    (hasHeaderCrc ? 2 : 0) |
    (extra === undefined ? 0 : 4) |
    (name === undefined ? 0 : 8) |
    (comment === undefined ? 0 : 16)
  const parts: Buffer[] = [Buffer.from([0x1f, 0x8b, 8, flags, 0, 0, 0, 0, 0, 3])]
  if (extra !== undefined) parts.push(Buffer.from([extra.length & 255, extra.length >> 8]), extra)
  if (name !== undefined) parts.push(Buffer.from(`${name}\0`, 'latin1'))
  if (comment !== undefined) parts.push(Buffer.from(`${comment}\0`, 'latin1'))
  if (hasHeaderCrc) {
    const field = Buffer.alloc(2)
    field.writeUInt16LE(crc32(Buffer.concat(parts)) & 0xffff)
    parts.push(field)
  }
  const trailer = Buffer.alloc(8)
  trailer.writeUInt32LE(crc32(content), 0)
  trailer.writeUInt32LE(content.length, 4)
  return Buffer.concat([...parts, deflateRawSync(content), trailer])
}

t.test('decompress() reads what other programs write as gzip', async (t) => {
  for (const [tool, ...args] of [
    ['gzip', '-1', '-c'],
    ['gzip', '-9', '-c'],
    ['pigz', '-c', '-b', '128', '-p', '2'],
    ['pigz', '-c', '-i', '-b', '128'],
    [
      'python3',
      '-c',
      'import gzip,sys;sys.stdout.buffer.write(gzip.compress(sys.stdin.buffer.read()))',
    ],
  ] as const) {
    t.test(`${tool} ${args[0]}`, { skip: toolMissing(tool) }, async (t) => {
      const bytes = filter(tool, args, SAMPLE)
      t.ok((await expand('gzip', bytes)).equals(SAMPLE))
      t.ok((await expand('gzip', bytes, { pieces: 1021 })).equals(SAMPLE))
    })
  }
})

t.test('decompress() joins members, however the input is cut', async (t) => {
  // Like bgzip and eStargz: many small members, an empty one at the end.
  const contents = Array.from({ length: 40 }, (_, i) => sampleBytes(i * 37, i + 1))
  const bytes = Buffer.concat([...contents, Buffer.alloc(0)].map((content) => member(content)))
  const want = Buffer.concat(contents)
  for (const pieces of [1, 2, 3, 17, 100, bytes.length]) {
    t.ok((await expand('gzip', bytes, { pieces })).equals(want), `pieces of ${pieces}`)
  }
})

t.test('decompress() accepts the optional fields of a gzip header', async (t) => {
  const fields = { extra: Buffer.from('BC\x02\0ab'), name: 'n', comment: 'c', hasHeaderCrc: true }
  for (const key of Object.keys(fields) as (keyof typeof fields)[]) {
    const bytes = member(SAMPLE, { [key]: fields[key] })
    t.ok((await expand('gzip', bytes, { pieces: 5000 })).equals(SAMPLE), key)
  }
  t.ok((await expand('gzip', member(SAMPLE, fields), { pieces: 3 })).equals(SAMPLE), 'all')
})

t.test('decompress() tolerates zeros after the last member and nothing else', async (t) => {
  const zeros = (length: number): Buffer => Buffer.alloc(length)
  const garbage = Buffer.from('garbage')
  for (const pieces of [1, 7, 4096, 1 << 20]) {
    for (const length of [1, 511, 4096, 10_001]) {
      const bytes = Buffer.concat([member(Buffer.from('hello')), zeros(length)])
      t.equal((await expand('gzip', bytes, { pieces })).toString(), 'hello', `${length} zeros`)
    }
    for (const [name, tail] of [
      ['text', garbage],
      ['zeros and text', Buffer.concat([zeros(600), garbage])],
      ['one zero and text', Buffer.concat([zeros(1), garbage])],
      // What Node.js drops without a word: a member behind padding (checklist S-24).
      ['zeros and a member', Buffer.concat([zeros(512), member(Buffer.from('hidden'))])],
      ['the first byte of a member', Buffer.from([0x1f])],
    ] as const) {
      const bytes = Buffer.concat([member(Buffer.from('hello')), tail])
      await t.rejects(expand('gzip', bytes, { pieces }), { code: 'LAYER_CORRUPT' }, name)
    }
  }
})

t.test('decompress() refuses a gzip stream that is cut anywhere', async (t) => {
  for (let part = 0; part < 20; part++) {
    const bytes = GZIP.subarray(0, Math.floor((GZIP.length * part) / 20))
    const expected = { code: 'LAYER_CORRUPT', message: /^Cannot decompress layer x: .*ends early/ }
    await t.rejects(expand('gzip', bytes, { pieces: 9999 }), expected, `${part}/20`)
  }
  for (const missing of [1, 4, 8, 9]) {
    await t.rejects(expand('gzip', GZIP.subarray(0, -missing)), { code: 'LAYER_CORRUPT' })
  }
})

t.test('decompress() never gives wrong bytes for a flipped bit', async (t) => {
  const random = seededRandom(t)
  const bytes = Buffer.concat([
    member(SAMPLE.subarray(0, 5000)),
    member(SAMPLE.subarray(5000, 9000)),
  ])
  let refused = 0
  for (let round = 0; round < 300; round++) {
    const bit = random.below(bytes.length * 8)
    const damaged = Buffer.from(bytes)
    damaged.writeUInt8(damaged.readUInt8(bit >> 3) ^ (1 << (bit & 7)), bit >> 3)
    try {
      // A header has bits without a meaning for the content: time, system and level.
      t.ok((await expand('gzip', damaged)).equals(SAMPLE.subarray(0, 9000)), `bit ${bit}`)
    } catch (error) {
      refused++
      if (!(error instanceof OcimountError) || error.code !== 'LAYER_CORRUPT') throw error
    }
  }
  t.ok(refused > 250, `${refused} of 300 refused`)
})

t.test('decompress() stops at its limit', async (t) => {
  const bomb = gzipSync(Buffer.alloc(20_000_000))
  await t.rejects(expand('gzip', bomb, { maxOutput: 1_000_000 }), { code: 'LIMIT_EXCEEDED' })
  t.equal((await expand('gzip', bomb, { maxOutput: 20_000_000 })).length, 20_000_000)
})

t.test('decompress() undoes one level of compression', async (t) => {
  t.ok((await expand('gzip', gzipSync(GZIP))).equals(GZIP))
})

t.test('decompress() passes on what its input throws, and closes an input it leaves', async (t) => {
  const failure = new OcimountError('SOURCE_CHANGED', 'Cannot read it: it changed')
  let closed = 0
  async function* failing(): AsyncGenerator<Buffer> {
    yield GZIP.subarray(0, 1000)
    throw failure
  }
  async function* endless(): AsyncGenerator<Buffer> {
    try {
      for (;;) yield GZIP
    } finally {
      closed++
    }
  }
  await t.rejects(collect(decompress('gzip', failing(), { what: 'x' })), failure)
  for await (const chunk of decompress('gzip', endless(), { what: 'x' })) {
    t.ok(chunk.length > 0)
    break
  }
  t.equal(closed, 1, 'left early')
  await t.rejects(collect(decompress('gzip', endless(), { what: 'x', maxOutput: 1 << 20 })), {
    code: 'LIMIT_EXCEEDED',
  })
  t.equal(closed, 2, 'left at the limit')
})

t.test('decompress() gives each byte whatever the pace of the reader', async (t) => {
  const bytes = gzipSync(sampleBytes(3_000_000), { level: 1, strategy: constants.Z_HUFFMAN_ONLY })
  const chunks: Buffer[] = []
  for await (const chunk of decompress('gzip', inPieces(bytes, 65_536), { what: 'x' })) {
    chunks.push(chunk)
    await new Promise(setImmediate)
  }
  t.ok(Buffer.concat(chunks).equals(sampleBytes(3_000_000)))
})
