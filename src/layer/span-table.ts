// Where the spans of one stored form of a layer are: the payload of a file of `blob-index/`. All numbers little-endian.
//
//    0  8  "OCIMSPAN"                                    40  4  number of spans
//    8  4  version, 1                                    44  4  length of the DiffID's text
//   12  4  compression: 1 gzip                           48  8  length of the windows
//   16  8  length of the blob                            56 136 DiffID that the blob was verified to lead to, zeros behind
//   24  8  device size                                  192     records of 64 bytes, see native-bindings/src/span_record.h
//   32  8  least output between two checkpoints                 windows that the records point into
//
// The digests in the records are those of the blob's bytes, so the table vouches for the blob, and its seal for the table.

import { OcimountError } from '../errors.js'
import { parseDigest, type DiffId } from '../image/digest.js'

/** The spans of a blob. */
export interface SpanTable {
  readonly blobSize: number
  readonly deviceSize: number
  readonly spanSize: number
  readonly diffId: DiffId
  /** Records of {@link SPAN_RECORD_SIZE}. */
  readonly records: Buffer
  readonly windows: Buffer
}

/** What the addon needs of a table to make a stretch of the device. */
export interface SpanRun {
  /** Number of the first span. */
  readonly first: number
  readonly count: number
  readonly records: Buffer
  /** Of the first span. */
  readonly window: Buffer
  readonly compressedStart: number
  readonly compressedEnd: number
  readonly bitsEnd: number
}

export const SPAN_RECORD_SIZE = 64

const MAGIC = 'OCIMSPAN'
const VERSION = 1
const GZIP = 1
const HEADER_SIZE = 192
const DIFF_ID_OFFSET = 56
const MAX_DIFF_ID = HEADER_SIZE - DIFF_ID_OFFSET

/** Gives the payload, in parts. */
export function encodeSpanTable(table: SpanTable): Buffer[] {
  const header = Buffer.alloc(HEADER_SIZE)
  header.write(MAGIC, 'latin1')
  header.writeUInt32LE(VERSION, 8)
  header.writeUInt32LE(GZIP, 12)
  header.writeBigUInt64LE(BigInt(table.blobSize), 16)
  header.writeBigUInt64LE(BigInt(table.deviceSize), 24)
  header.writeBigUInt64LE(BigInt(table.spanSize), 32)
  header.writeUInt32LE(table.records.length / SPAN_RECORD_SIZE, 40)
  header.writeUInt32LE(table.diffId.length, 44)
  header.writeBigUInt64LE(BigInt(table.windows.length), 48)
  header.write(table.diffId, DIFF_ID_OFFSET, 'latin1')
  return [header, table.records, table.windows]
}

/**
 * Reads a payload, whose bytes the table then refers to.
 *
 * Whoever made the bytes, every run that comes out of the table lies within the blob and the windows.
 *
 * @throws OcimountError `CACHE_CORRUPT`
 */
export function decodeSpanTable(payload: Buffer): SpanTable {
  if (payload.length < HEADER_SIZE) throw corrupt('it ends early')
  if (payload.toString('latin1', 0, 8) !== MAGIC) throw corrupt('it is another kind of file')
  if (payload.readUInt32LE(8) !== VERSION) throw corrupt('its version is unknown')
  if (payload.readUInt32LE(12) !== GZIP) throw corrupt('its compression is unknown')
  const recordsEnd = HEADER_SIZE + payload.readUInt32LE(40) * SPAN_RECORD_SIZE
  if (payload.length !== recordsEnd + numberAt(payload, 48)) throw corrupt('its length is wrong')
  const table = {
    blobSize: numberAt(payload, 16),
    deviceSize: numberAt(payload, 24),
    spanSize: numberAt(payload, 32),
    diffId: diffIdAt(payload),
    records: payload.subarray(HEADER_SIZE, recordsEnd),
    windows: payload.subarray(recordsEnd),
  }
  checkRecords(table)
  return table
}

/** Gives the spans that a stretch of the device is made of; the stretch is not empty and lies in the device. */
export function spansOf(table: SpanTable, start: number, end: number): SpanRun {
  const { records, windows, blobSize } = table
  const total = records.length / SPAN_RECORD_SIZE
  // Of spans that begin at the same address all but the last make nothing.
  const first = firstSpan(table, (deviceOffset) => deviceOffset > start) - 1
  const behind = Math.max(
    first + 1,
    firstSpan(table, (deviceOffset) => deviceOffset >= end),
  )
  const record = records.subarray(first * SPAN_RECORD_SIZE)
  const windowOffset = record.readUInt32LE(16)
  const next = behind * SPAN_RECORD_SIZE
  return {
    first,
    count: behind - first,
    records: records.subarray(first * SPAN_RECORD_SIZE, next),
    window: windows.subarray(windowOffset, windowOffset + record.readUInt32LE(20)),
    compressedStart: numberAt(record, 8),
    compressedEnd: behind === total ? blobSize : numberAt(records, next + 8),
    bitsEnd: behind === total ? 0 : records.readUInt8(next + 25),
  }
}

/** Gives the most bytes that one span makes: what has to be inflated for a byte at its end. */
export function longestSpan({ records, deviceSize }: SpanTable): number {
  let longest = 0
  for (let at = 0; at < records.length; at += SPAN_RECORD_SIZE) {
    const next = at + SPAN_RECORD_SIZE
    const end = next === records.length ? deviceSize : numberAt(records, next)
    longest = Math.max(longest, end - numberAt(records, at))
  }
  return longest
}

function firstSpan({ records }: SpanTable, isFound: (deviceOffset: number) => boolean): number {
  let low = 0
  let high = records.length / SPAN_RECORD_SIZE
  while (low < high) {
    const middle = (low + high) >>> 1
    if (isFound(numberAt(records, middle * SPAN_RECORD_SIZE))) high = middle
    else low = middle + 1
  }
  return low
}

function checkRecords({ records, windows, blobSize, deviceSize }: SpanTable): void {
  if (records.length === 0 && deviceSize > 0) throw corrupt('it has no spans')
  let deviceOffset = 0
  let compressedOffset = 0
  for (let at = 0; at < records.length; at += SPAN_RECORD_SIZE) {
    const device = numberAt(records, at)
    const compressed = numberAt(records, at + 8)
    if (at === 0 ? device !== 0 : device < deviceOffset) throw corrupt('its spans do not ascend')
    if (compressed < compressedOffset || device > deviceSize || compressed >= blobSize) {
      throw corrupt('a span lies outside the blob')
    }
    if (records.readUInt32LE(at + 16) + records.readUInt32LE(at + 20) > windows.length) {
      throw corrupt('a window lies outside the windows')
    }
    const kind = records.readUInt8(at + 24)
    const bits = records.readUInt8(at + 25)
    if (kind > 1 || bits > 7 || (kind === 0 && bits > 0) || records.readUIntLE(at + 26, 6) !== 0) {
      throw corrupt('a span is of no known kind')
    }
    deviceOffset = device
    compressedOffset = compressed
  }
}

function diffIdAt(payload: Buffer): DiffId {
  const length = payload.readUInt32LE(44)
  if (length > MAX_DIFF_ID) throw corrupt('its DiffID is too long')
  const end = DIFF_ID_OFFSET + length
  if (payload.subarray(end, HEADER_SIZE).some((byte) => byte !== 0)) {
    throw corrupt('its header is not filled with zeros')
  }
  try {
    return parseDigest(payload.toString('latin1', DIFF_ID_OFFSET, end))
  } catch (error) {
    throw corrupt('its DiffID is none', error)
  }
}

function numberAt(bytes: Buffer, offset: number): number {
  const value = Number(bytes.readBigUInt64LE(offset))
  if (!Number.isSafeInteger(value)) throw corrupt('a number is too large')
  return value
}

function corrupt(why: string, cause?: unknown): OcimountError {
  return new OcimountError('CACHE_CORRUPT', `Cannot read a table of spans: ${why}`, { cause })
}
