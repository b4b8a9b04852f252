import t from 'tap'
import {
  decodeDigests,
  decodeMap,
  encodeDigests,
  encodeFullMap,
  hasPiece,
  PIECE_SIZE,
  pieceCount,
} from '../../src/cache/piece-map.js'

t.test('encodeFullMap() is what the header of the file says', (t) => {
  const bytes = Buffer.concat(encodeFullMap(9 * PIECE_SIZE + 1))
  t.equal(
    bytes.toString('hex'),
    '4f43494d4d415000' + '01000000' + '00001000' + '0100900000000000' + 'ff03',
  )
  t.equal(Buffer.concat(encodeFullMap(0)).length, 24, 'an empty device has no pieces')
  t.end()
})

t.test('encodeDigests() is what the header of the file says', (t) => {
  const digest = Buffer.alloc(32, 7)
  const bytes = Buffer.concat(encodeDigests(5, [digest]))
  t.equal(
    bytes.toString('hex'),
    '4f43494d44494700' + '01000000' + '00001000' + '0500000000000000' + '07'.repeat(32),
  )
  t.ok(decodeDigests(bytes, 5, 'x').equals(digest))
  t.end()
})

t.test('decodeMap() and decodeDigests() give back what was encoded', (t) => {
  for (const pieces of [0, 1, 7, 8, 9, 1000]) {
    const size = Math.max(0, pieces * PIECE_SIZE - 1)
    t.equal(pieceCount(size), pieces)
    const { deviceSize, present } = decodeMap(Buffer.concat(encodeFullMap(size)), 'x')
    t.equal(deviceSize, size)
    for (let piece = 0; piece < pieces + 9; piece++) {
      if (hasPiece(present, piece) !== piece < pieces) t.fail(`piece ${piece} of ${pieces}`)
    }
    const digests = Array.from({ length: pieces }, (_, index) => Buffer.alloc(32, index))
    const encoded = Buffer.concat(encodeDigests(size, digests))
    t.ok(decodeDigests(encoded, size, 'x').equals(Buffer.concat(digests)))
  }
  t.end()
})

t.test('decodeMap() and decodeDigests() refuse what is malformed', (t) => {
  const cases: Record<string, (bytes: Buffer) => Buffer> = {
    'too short': (bytes) => bytes.subarray(0, 23),
    'another kind': (bytes) => (bytes.write('OCIMXXX'), bytes),
    'another version': (bytes) => (bytes.writeUInt32LE(2, 8), bytes),
    'another piece size': (bytes) => (bytes.writeUInt32LE(4096, 12), bytes),
    'a device of 2^60 bytes': (bytes) => (bytes.writeBigUInt64LE(1n << 60n, 16), bytes),
    'a device of 2^50 bytes': (bytes) => (bytes.writeBigUInt64LE(1n << 50n, 16), bytes),
    'one byte more': (bytes) => Buffer.concat([bytes, Buffer.alloc(1)]),
    'one byte less': (bytes) => bytes.subarray(0, -1),
  }
  const size = 3 * PIECE_SIZE
  for (const [name, damage] of Object.entries(cases)) {
    const map = damage(Buffer.concat(encodeFullMap(size)))
    t.throws(
      () => decodeMap(map, '/a'),
      { code: 'CACHE_CORRUPT', message: /^Cannot use \/a: / },
      name,
    )
    const digests = damage(
      Buffer.concat(
        encodeDigests(
          size,
          [1, 2, 3].map((n) => Buffer.alloc(32, n)),
        ),
      ),
    )
    t.throws(() => decodeDigests(digests, size, '/a'), { code: 'CACHE_CORRUPT' }, name)
  }
  const beyond = Buffer.concat(encodeFullMap(size))
  beyond[24] = 0b1111
  t.throws(() => decodeMap(beyond, '/a'), { code: 'CACHE_CORRUPT', message: /beyond the end$/ })
  t.end()
})
