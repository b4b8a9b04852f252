// The file form of a table of spans.

import t from 'tap'
import type { DiffId } from '../../src/image/digest.js'
import {
  decodeSpanTable,
  encodeSpanTable,
  longestSpan,
  SPAN_RECORD_SIZE,
  spansOf,
  type SpanTable,
} from '../../src/layer/span-table.js'
import { seededRandom } from '../helpers/random.js'

interface Row {
  readonly device: number
  readonly compressed: number
  readonly bits?: number
}

function tableOf(rows: readonly Row[], deviceSize: number, blobSize: number): SpanTable {
  const records = Buffer.alloc(rows.length * SPAN_RECORD_SIZE)
  for (const [index, { device, compressed, bits = 0 }] of rows.entries()) {
    const at = index * SPAN_RECORD_SIZE
    records.writeBigUInt64LE(BigInt(device), at)
    records.writeBigUInt64LE(BigInt(compressed), at + 8)
    records.writeUInt32LE(index * 10, at + 16)
    records.writeUInt32LE(10, at + 20)
    records.writeUInt8(1, at + 24)
    records.writeUInt8(bits, at + 25)
  }
  const windows = Buffer.alloc(rows.length * 10, 7)
  const diffId = `sha256:${'ab'.repeat(32)}` as DiffId
  return { blobSize, deviceSize, spanSize: 1 << 20, diffId, records, windows }
}

const TABLE = tableOf(
  [
    { device: 0, compressed: 0 },
    { device: 1000, compressed: 100, bits: 3 },
    { device: 1000, compressed: 150 },
    { device: 5000, compressed: 300, bits: 7 },
  ],
  6000,
  400,
)

t.test('decodeSpanTable() gives back what was encoded', async (t) => {
  t.strictSame(decodeSpanTable(Buffer.concat(encodeSpanTable(TABLE))), TABLE)
  const empty = tableOf([], 0, 20)
  t.strictSame(decodeSpanTable(Buffer.concat(encodeSpanTable(empty))), empty)
  const long = { ...TABLE, diffId: `sha512:${'ab'.repeat(64)}` as DiffId }
  t.strictSame(decodeSpanTable(Buffer.concat(encodeSpanTable(long))), long)
})

t.test('spansOf() gives the spans that a stretch needs, and no other', async (t) => {
  const shape = (start: number, end: number): unknown[] => {
    const { first, count, window, compressedEnd, bitsEnd, records } = spansOf(TABLE, start, end)
    t.equal(records.length, count * SPAN_RECORD_SIZE)
    t.equal(window.length, 10)
    return [first, count, compressedEnd, bitsEnd]
  }
  t.strictSame(shape(0, 1000), [0, 1, 100, 3])
  t.strictSame(shape(0, 1001), [0, 3, 300, 7])
  t.strictSame(shape(999, 1001), [0, 3, 300, 7])
  t.strictSame(shape(1000, 5000), [2, 1, 300, 7])
  t.strictSame(shape(1001, 6000), [2, 2, 400, 0])
  t.strictSame(shape(5000, 6000), [3, 1, 400, 0])
  t.equal(longestSpan(TABLE), 4000)
})

t.test('decodeSpanTable() refuses what encodeSpanTable() never makes', async (t) => {
  const good = Buffer.concat(encodeSpanTable(TABLE))
  const record = (index: number, offset: number): number => 192 + index * SPAN_RECORD_SIZE + offset
  const cases: Record<string, (bytes: Buffer) => unknown> = {
    magic: (bytes) => bytes.write('x'),
    version: (bytes) => bytes.writeUInt32LE(2, 8),
    compression: (bytes) => bytes.writeUInt32LE(2, 12),
    'one span more': (bytes) => bytes.writeUInt32LE(5, 40),
    'as many spans as there can be': (bytes) => bytes.writeUInt32LE(0xffff_ffff, 40),
    'longer windows': (bytes) => bytes.writeBigUInt64LE(41n, 48),
    'windows beyond reason': (bytes) => bytes.writeBigUInt64LE(0xffff_ffff_ffff_ffffn, 48),
    'a long DiffID': (bytes) => bytes.writeUInt32LE(137, 44),
    'a short DiffID': (bytes) => bytes.writeUInt32LE(70, 44),
    'no DiffID': (bytes) => bytes.fill(0, 56, 192).writeUInt32LE(0, 44),
    'a start that is not 0': (bytes) => bytes.writeBigUInt64LE(1n, record(0, 0)),
    'a device offset that falls': (bytes) => bytes.writeBigUInt64LE(999n, record(2, 0)),
    'a device offset behind the end': (bytes) => bytes.writeBigUInt64LE(6001n, record(3, 0)),
    'a compressed offset that falls': (bytes) => bytes.writeBigUInt64LE(99n, record(2, 8)),
    'a compressed offset at the end': (bytes) => bytes.writeBigUInt64LE(400n, record(3, 8)),
    'a window behind the end': (bytes) => bytes.writeUInt32LE(31, record(3, 16)),
    'a window that wraps': (bytes) => bytes.writeUInt32LE(0xffff_ffff, record(3, 20)),
    'a kind': (bytes) => bytes.writeUInt8(2, record(1, 24)),
    'nine bits': (bytes) => bytes.writeUInt8(8, record(1, 25)),
    'bits before a member': (bytes) => bytes.writeUInt8(0, record(1, 24)),
    'bytes that are not zero': (bytes) => bytes.writeUInt8(1, record(1, 31)),
  }
  for (const [name, change] of Object.entries(cases)) {
    const bytes = Buffer.from(good)
    change(bytes)
    t.throws(() => decodeSpanTable(bytes), { code: 'CACHE_CORRUPT' }, name)
  }
  for (let length = 0; length < good.length; length += 7) {
    t.throws(() => decodeSpanTable(good.subarray(0, length)), { code: 'CACHE_CORRUPT' })
  }
  const noSpans = Buffer.concat(encodeSpanTable(tableOf([], 1, 20)))
  t.throws(() => decodeSpanTable(noSpans), { code: 'CACHE_CORRUPT' })
})

t.test('what is decoded from noise stays within the blob', async (t) => {
  const random = seededRandom(t)
  const good = Buffer.concat(encodeSpanTable(TABLE))
  let decoded = 0
  for (let round = 0; round < 3000; round++) {
    const bytes = Buffer.from(good)
    for (let i = random.below(3); i >= 0; i--) bytes[random.below(bytes.length)] = random.below(256)
    let table: SpanTable
    try {
      table = decodeSpanTable(bytes)
    } catch (error) {
      if ((error as { code?: string }).code !== 'CACHE_CORRUPT') throw error
      continue
    }
    if (table.deviceSize === 0) continue
    decoded++
    const start = random.below(Math.min(table.deviceSize, 10_000))
    const run = spansOf(table, start, Math.min(table.deviceSize, start + 1))
    if (run.count < 1 || run.compressedEnd > table.blobSize || run.bitsEnd > 7) t.fail('a bad run')
  }
  t.ok(decoded > 100)
})
