// The two sealed files beside `data`, the uncompressed bytes of one layer. All numbers are little-endian.
//
// data.map, which pieces are there; without this file there are none:     digests, what each must hash to:
//    0  8  "OCIMMAP\0"                                                       0  8  "OCIMDIG\0"
//    8  4  version, 1                                                        8  4  version, 1
//   12  4  piece size, 1048576                                              12  4  piece size, 1048576
//   16  8  device size                                                      16  8  device size
//   24     one bit per piece, lowest bit of a byte first; rest zero         24     32 bytes per piece, SHA-256
//
// The last piece is as short as the device makes it. The digest of a piece is 32 zeros while nobody knows it, which of a piece that
// is there somebody does.

import { corruptError } from './storage-error.js'

/** Bytes that are checked together. */
export const PIECE_SIZE = 1024 * 1024
export const PIECE_DIGEST_SIZE = 32
export const DATA_NAME = 'data'
export const DATA_MAP_NAME = 'data.map'
export const DIGESTS_NAME = 'digests'

const VERSION = 1
const HEADER_SIZE = 24
const MAP_MAGIC = 'OCIMMAP\0'
const DIGESTS_MAGIC = 'OCIMDIG\0'

/** Gives the number of pieces of a device. */
export function pieceCount(deviceSize: number): number {
  return Math.ceil(deviceSize / PIECE_SIZE)
}

/** Gives the payload of `data.map` for a device that is there whole. */
export function encodeFullMap(deviceSize: number): Buffer[] {
  return [encodeHeader(MAP_MAGIC, deviceSize), fullBits(deviceSize)]
}

/** Gives the payload of `data.map` for a device of which nothing is there. */
export function encodeEmptyMap(deviceSize: number): Buffer[] {
  return encodeMap({ deviceSize, present: Buffer.alloc(fullBits(deviceSize).length) })
}

/** Gives the payload of `data.map`. */
export function encodeMap({ deviceSize, present }: PieceMap): Buffer[] {
  return [encodeHeader(MAP_MAGIC, deviceSize), present]
}

/** Gives the payload of `digests`. */
export function encodeDigests(deviceSize: number, digests: readonly Buffer[]): Buffer[] {
  return [encodeHeader(DIGESTS_MAGIC, deviceSize), ...digests]
}

/** What `data.map` says: the size of the device and one bit per piece. */
export interface PieceMap {
  readonly deviceSize: number
  readonly present: Buffer
}

/**
 * Reads the payload of `data.map`.
 *
 * @throws OcimountError `CACHE_CORRUPT`; `what` names the file.
 */
export function decodeMap(payload: Buffer, what: string): PieceMap {
  const deviceSize = decodeHeader(payload, MAP_MAGIC, what)
  const count = pieceCount(deviceSize)
  const present = payload.subarray(HEADER_SIZE)
  if (present.length !== Math.ceil(count / 8)) throw corruptError(what, 'its length is wrong')
  if (count % 8 !== 0 && (present.at(-1) ?? 0) >> (count % 8) !== 0) {
    throw corruptError(what, 'it names pieces beyond the end')
  }
  return { deviceSize, present }
}

/**
 * Reads the payload of `digests` for a device of the given size.
 *
 * @throws OcimountError `CACHE_CORRUPT`; `what` names the file.
 */
export function decodeDigests(payload: Buffer, deviceSize: number, what: string): Buffer {
  if (decodeHeader(payload, DIGESTS_MAGIC, what) !== deviceSize) {
    throw corruptError(what, 'it is for a device of another size')
  }
  const digests = payload.subarray(HEADER_SIZE)
  if (digests.length !== pieceCount(deviceSize) * PIECE_DIGEST_SIZE) {
    throw corruptError(what, 'its length is wrong')
  }
  return digests
}

/** Tells whether every piece is there. */
export function isWholeMap({ deviceSize, present }: PieceMap): boolean {
  return present.equals(fullBits(deviceSize))
}

/** Gives where a piece begins and how long it is. */
export function pieceRange(piece: number, deviceSize: number): { start: number; length: number } {
  const start = piece * PIECE_SIZE
  return { start, length: Math.min(PIECE_SIZE, deviceSize - start) }
}

/** Sets or clears the bit of a piece. */
export function setPiece(bits: Uint8Array, piece: number, isPresent: boolean): void {
  const bit = 1 << (piece & 7)
  const byte = bits[piece >>> 3] ?? 0
  bits[piece >>> 3] = isPresent ? byte | bit : byte & ~bit
}

/** Tells whether the bit of a piece is set. */
export function hasPiece(bits: Uint8Array, piece: number): boolean {
  return ((bits[piece >>> 3] ?? 0) & (1 << (piece & 7))) !== 0
}

function fullBits(deviceSize: number): Buffer {
  const count = pieceCount(deviceSize)
  const bits = Buffer.alloc(Math.ceil(count / 8), 0xff)
  if (count % 8 !== 0) bits[bits.length - 1] = (1 << (count % 8)) - 1
  return bits
}

function encodeHeader(magic: string, deviceSize: number): Buffer {
  const header = Buffer.alloc(HEADER_SIZE)
  header.write(magic, 'latin1')
  header.writeUInt32LE(VERSION, 8)
  header.writeUInt32LE(PIECE_SIZE, 12)
  header.writeBigUInt64LE(BigInt(deviceSize), 16)
  return header
}

function decodeHeader(payload: Buffer, magic: string, what: string): number {
  if (payload.length < HEADER_SIZE) throw corruptError(what, 'it is too short')
  if (payload.toString('latin1', 0, 8) !== magic)
    throw corruptError(what, 'it is another kind of file')
  if (payload.readUInt32LE(8) !== VERSION) throw corruptError(what, 'its version is unknown')
  if (payload.readUInt32LE(12) !== PIECE_SIZE) throw corruptError(what, 'its piece size is unknown')
  const deviceSize = Number(payload.readBigUInt64LE(16))
  if (!Number.isSafeInteger(deviceSize)) throw corruptError(what, 'its device is too large')
  return deviceSize
}
