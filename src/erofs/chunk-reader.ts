import { checkInside, corrupt } from './corrupt.js'
import {
  alignUp,
  BLOCK_BITS,
  BLOCK_SIZE,
  CHUNK_BLKBITS_MASK,
  CHUNK_FORMAT_INDEXES,
  CHUNK_INDEX_SIZE,
  NULL_BLKADDR,
} from './format.js'
import { endOfXattrs, type StoredInode } from './inode-reader.js'
import type { ErofsDevice } from './node.js'

/** A stretch of a file and where its bytes are. */
export interface ErofsPiece {
  readonly fileOffset: number
  readonly length: number
  /** 0-based number in the device table, or `zero` for a hole. */
  readonly device: number | 'zero'
  /** 0 for a hole. */
  readonly deviceOffset: number
}

/**
 * Maps a stretch of a regular file, cut off at its end. Neighbours that continue one another are one piece,
 * so there are as few as can be, and never more than the inode has chunks.
 *
 * @throws `CACHE_CORRUPT`
 */
export function mapPieces(
  bytes: Buffer,
  imageSize: number,
  request: {
    readonly inode: StoredInode
    readonly devices: readonly ErofsDevice[]
    readonly fileOffset: number
    readonly length: number
  },
): ErofsPiece[] {
  const { inode, devices, fileOffset } = request
  const end = Math.min(fileOffset + request.length, inode.size)
  if (!(fileOffset < end)) return []
  if ((inode.union & ~CHUNK_BLKBITS_MASK) !== CHUNK_FORMAT_INDEXES) {
    throw corrupt(`inode ${inode.nid} has a chunk format that is never written`)
  }
  const chunkSize = 2 ** (BLOCK_BITS + (inode.union & CHUNK_BLKBITS_MASK))
  const indexOffset = alignUp(endOfXattrs(inode), CHUNK_INDEX_SIZE)
  const firstChunk = Math.floor(fileOffset / chunkSize)
  const chunkCount = Math.ceil(end / chunkSize)
  checkInside(indexOffset, chunkCount * CHUNK_INDEX_SIZE, imageSize, 'a chunk index')

  const pieces: ErofsPiece[] = []
  let last: { -readonly [Key in keyof ErofsPiece]: ErofsPiece[Key] } | undefined
  for (let chunk = firstChunk; chunk < chunkCount; chunk++) {
    const start = Math.max(fileOffset, chunk * chunkSize)
    const length = Math.min(end, (chunk + 1) * chunkSize) - start
    const position = indexOffset + chunk * CHUNK_INDEX_SIZE
    const block = bytes.readUInt32LE(position + 4)
    const device = block === NULL_BLKADDR ? 'zero' : bytes.readUInt16LE(position + 2) - 1
    const deviceOffset = device === 'zero' ? 0 : block * BLOCK_SIZE + (start - chunk * chunkSize)
    if (device !== 'zero' && deviceOffset + length > (devices[device]?.size ?? -1)) {
      throw corrupt(`a chunk of inode ${inode.nid} is outside its device`)
    }
    const isContinued =
      last?.device === device &&
      (device === 'zero' || last.deviceOffset + last.length === deviceOffset)
    if (isContinued && last !== undefined) last.length += length
    else pieces.push((last = { fileOffset: start, length, device, deviceOffset }))
  }
  return pieces
}
