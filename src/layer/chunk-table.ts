// Where the chunks of a lazy layer are, in its device and in its blob: the payload of `chunks` in the layer's directory. All numbers
// little-endian.
//
//    0  8  "OCIMCHNK"                          40  4  length of the digest's text
//    8  4  version, 1                          44  4  zero
//   12  4  compression: 1 gzip, 2 zstd         48 136 digest of the blob, zeros behind
//                                             184  8  end of what its maker wants to be fetched first
//   16  8  length of the blob                 192     records of 64 bytes, by deviceOffset:
//   24  8  device size                          0  8  deviceOffset      20  4  bytes to fetch from there
//   32  4  number of chunks                     8  8  compressedOffset  24  4  offset in what these unpack to
//   36  4  zero                                16  4  length            28  4  zero     32 32  SHA-256 of the chunk
//
// What lies between the chunks of a device is zeros. The digests were in the table of contents, so the seal vouches for all.

import { PIECE_SIZE } from '../cache/piece-map.js'
import type { DecompressibleKind } from '../compression/detect.js'
import { OcimountError } from '../errors.js'
import { parseDigest, type Digest } from '../image/digest.js'

/** The longest chunk, and the most that has to be unpacked for the end of one: what a read of one byte may cost. */
export const MAX_CHUNK = 64 * 1024 * 1024
/** The most bytes that may have to be fetched for one. */
export const MAX_CHUNK_STORED = MAX_CHUNK + MAX_CHUNK / 32
/** The most that has to be unpacked for one piece, each chunk of it counted as so many bytes more. */
export const MAX_PIECE_COST = 4 * MAX_CHUNK
export const CHUNK_COST = 32 * 1024

/** A stretch of the device that is fetched and verified as a whole. */
export interface Chunk {
  readonly index: number
  readonly deviceOffset: number
  readonly length: number
  /** Where the gzip member or zstd frame begins that holds it, and how much of the blob from there unpacks to its end. */
  readonly compressedOffset: number
  readonly compressedLength: number
  /** Where it begins in what these bytes unpack to. */
  readonly innerOffset: number
}

/** The chunks of a layer as one blob stores them. */
export interface ChunkTable {
  readonly compression: DecompressibleKind
  readonly blobDigest: Digest
  readonly blobSize: number
  readonly deviceSize: number
  /** What lies before this in the device is what its maker wants to be fetched first. */
  readonly firstEnd: number
  /** Records of {@link CHUNK_RECORD_SIZE}. */
  readonly records: Buffer
}

export const CHUNK_RECORD_SIZE = 64

const MAGIC = 'OCIMCHNK'
const VERSION = 1
const HEADER_SIZE = 192
const DIGEST_OFFSET = 48
const HALF = 2 ** 32
const FIRST_END_OFFSET = 184
const COMPRESSIONS: readonly (DecompressibleKind | undefined)[] = [undefined, 'gzip', 'zstd']

/** A chunk of which nobody knows yet how much of the blob it takes. */
export type NewChunk = Omit<Chunk, 'index' | 'compressedLength'> & {
  /** SHA-256, in hex digits. */
  readonly sha256: string
}

/** Writes one record into a buffer. */
export function writeChunk(records: Buffer, at: number, chunk: NewChunk): void {
  writeOffset(records, at, chunk.deviceOffset)
  writeOffset(records, at + 8, chunk.compressedOffset)
  records.writeUInt32LE(chunk.length, at + 16)
  records.writeUInt32LE(0, at + 20)
  records.writeUInt32LE(chunk.innerOffset, at + 24)
  records.writeUInt32LE(0, at + 28)
  records.write(chunk.sha256, at + 32, 'hex')
}

/** In two halves: with a BigInt for each it takes ten times as long, and a layer has some 50,000. */
function writeOffset(records: Buffer, at: number, value: number): void {
  records.writeUInt32LE(value % HALF, at)
  records.writeUInt32LE(Math.floor(value / HALF), at + 4)
}

function readOffset(records: Buffer, at: number): number {
  return records.readUInt32LE(at) + records.readUInt32LE(at + 4) * HALF
}

/** Reads one record. */
export function chunkAt({ records }: Pick<ChunkTable, 'records'>, index: number): Chunk {
  const at = index * CHUNK_RECORD_SIZE
  return {
    index,
    deviceOffset: readOffset(records, at),
    compressedOffset: readOffset(records, at + 8),
    length: records.readUInt32LE(at + 16),
    compressedLength: records.readUInt32LE(at + 20),
    innerOffset: records.readUInt32LE(at + 24),
  }
}

/** Gives the SHA-256 of a chunk, as a view. */
export function chunkDigest({ records }: Pick<ChunkTable, 'records'>, index: number): Buffer {
  return records.subarray(index * CHUNK_RECORD_SIZE + 32, (index + 1) * CHUNK_RECORD_SIZE)
}

/** Gives the number of chunks. */
export function chunkCount({ records }: Pick<ChunkTable, 'records'>): number {
  return records.length / CHUNK_RECORD_SIZE
}

/** Gives the number of the first chunk that ends behind an address; the number of all where there is none. */
export function firstChunkBehind(table: ChunkTable, deviceOffset: number): number {
  let low = 0
  let high = chunkCount(table)
  while (low < high) {
    const middle = (low + high) >>> 1
    const at = middle * CHUNK_RECORD_SIZE
    const end = readOffset(table.records, at) + table.records.readUInt32LE(at + 16)
    if (end > deviceOffset) high = middle
    else low = middle + 1
  }
  return low
}

/** Gives the payload, in parts. */
export function encodeChunkTable(table: ChunkTable): Buffer[] {
  const header = Buffer.alloc(HEADER_SIZE)
  header.write(MAGIC, 'latin1')
  header.writeUInt32LE(VERSION, 8)
  header.writeUInt32LE(COMPRESSIONS.indexOf(table.compression), 12)
  header.writeBigUInt64LE(BigInt(table.blobSize), 16)
  header.writeBigUInt64LE(BigInt(table.deviceSize), 24)
  header.writeUInt32LE(chunkCount(table), 32)
  header.writeUInt32LE(table.blobDigest.length, 40)
  header.write(table.blobDigest, DIGEST_OFFSET, 'latin1')
  header.writeBigUInt64LE(BigInt(table.firstEnd), FIRST_END_OFFSET)
  return [header, table.records]
}

/**
 * Reads a payload, whose bytes the table then refers to.
 *
 * Whoever made the bytes, every chunk lies within the device and the blob, behind the one before it, and {@link isAffordable}
 * is true of all.
 *
 * @throws OcimountError `CACHE_CORRUPT`
 */
export function decodeChunkTable(payload: Buffer): ChunkTable {
  if (payload.length < HEADER_SIZE) throw corrupt('it ends early')
  if (payload.toString('latin1', 0, 8) !== MAGIC) throw corrupt('it is another kind of file')
  if (payload.readUInt32LE(8) !== VERSION) throw corrupt('its version is unknown')
  const compression = COMPRESSIONS[payload.readUInt32LE(12)]
  if (compression === undefined) throw corrupt('its compression is unknown')
  const records = payload.subarray(HEADER_SIZE)
  if (records.length !== payload.readUInt32LE(32) * CHUNK_RECORD_SIZE) {
    throw corrupt('its length is wrong')
  }
  const table = {
    compression,
    blobDigest: digestIn(payload),
    blobSize: Number(payload.readBigUInt64LE(16)),
    deviceSize: Number(payload.readBigUInt64LE(24)),
    firstEnd: Number(payload.readBigUInt64LE(FIRST_END_OFFSET)),
    records,
  }
  let end = 0
  for (let index = 0; index < chunkCount(table); index++) {
    const chunk = chunkAt(table, index)
    if (chunk.deviceOffset < end) throw corrupt('its chunks overlap')
    end = chunk.deviceOffset + chunk.length
    if (!isInBlob(chunk, table.blobSize)) throw corrupt('a chunk lies outside the blob')
  }
  if (end > table.deviceSize || table.firstEnd > table.deviceSize)
    throw corrupt('a chunk lies outside the device')
  if (!isAffordable(table)) throw corrupt('to read it takes too much')
  return table
}

/** Tells whether each piece can be made without taking too much time and memory. */
export function isAffordable(table: Pick<ChunkTable, 'records'>): boolean {
  let piece = -1
  let cost = 0
  let member = { compressedOffset: -1, unpacked: 0 }
  const spend = (inPiece: number, { compressedOffset, innerOffset, length }: Chunk): void => {
    const isSame = inPiece === piece && compressedOffset === member.compressedOffset
    const known = isSame ? member.unpacked : 0
    const unpacked = Math.max(known, innerOffset + length)
    cost = (inPiece === piece ? cost : 0) + CHUNK_COST + unpacked - known
    member = { compressedOffset, unpacked }
    piece = inPiece
  }
  for (let index = 0; index < chunkCount(table); index++) {
    const chunk = chunkAt(table, index)
    if (!isAffordableChunk(chunk)) return false
    const first = Math.floor(chunk.deviceOffset / PIECE_SIZE)
    const last = Math.floor((chunk.deviceOffset + chunk.length - 1) / PIECE_SIZE)
    spend(first, chunk)
    if (cost > MAX_PIECE_COST) return false
    // It is the first one there, and alone in those between.
    if (last !== first) spend(last, chunk)
  }
  return true
}

function isAffordableChunk({ length, innerOffset, compressedLength }: Chunk): boolean {
  return length > 0 && innerOffset + length <= MAX_CHUNK && compressedLength <= MAX_CHUNK_STORED
}

function isInBlob({ compressedOffset, compressedLength }: Chunk, blobSize: number): boolean {
  return compressedLength > 0 && compressedOffset + compressedLength <= blobSize
}

function digestIn(payload: Buffer): Digest {
  const length = payload.readUInt32LE(40)
  if (DIGEST_OFFSET + length > FIRST_END_OFFSET) throw corrupt('its digest is too long')
  try {
    return parseDigest(payload.toString('latin1', DIGEST_OFFSET, DIGEST_OFFSET + length))
  } catch (error) {
    throw corrupt('its digest is none', error)
  }
}

function corrupt(why: string, cause?: unknown): OcimountError {
  return new OcimountError('CACHE_CORRUPT', `Cannot read a table of chunks: ${why}`, { cause })
}
