// Whether the kernel can read a file straight off its devices. EROFS cuts a file into chunks of one power
// of two, each a run of one device that starts on a block, or a hole. A contiguous file is one chunk; a
// sparse file works when its extents line up with chunks that are not too many.

import { OcimountError } from '../errors.js'
import { BLOCK_BITS, BLOCK_SIZE, CHUNK_BLKBITS_MASK } from './format.js'
import type { ErofsExtent } from './node.js'

/** Bounds the chunk index of an inode to 512 KiB, however sparse and large the file. */
export const MAX_CHUNKS = 0x10000

export interface ChunkPlan {
  /** Binary logarithm of the chunk size in bytes: 9 to 40. */
  readonly chunkBits: number
  readonly chunkCount: number
}

/**
 * Finds the chunk size with which a file's extents can be written as they are, or gives undefined where
 * none can: then the content has to move to a device of its own, on which it is contiguous.
 *
 * Extents that follow one another on the same device count as one. The last one may end anywhere in a
 * block when it ends with the file: what lies behind the end is not shown.
 *
 * @throws `INTERNAL` when the extents are not ascending, overlap, or leave the file.
 */
export function planChunks(size: number, extents: readonly ErofsExtent[]): ChunkPlan | undefined {
  let alignment = MAX_CHUNK_BITS
  let isWhole = true
  let end = 0
  let previous: ErofsExtent | undefined
  for (const extent of extents) {
    if (extent.length === 0) continue
    checkExtent(extent, end, size)
    if (previous === undefined || !follows(previous, extent)) {
      if (extent.deviceOffset % BLOCK_SIZE !== 0) return undefined
      alignment = Math.min(alignment, alignmentOf(extent.fileOffset), alignmentOf(end))
      isWhole &&= extent.fileOffset === 0
    }
    end = extent.fileOffset + extent.length
    previous = extent
  }
  if (end !== size && previous !== undefined) {
    alignment = Math.min(alignment, alignmentOf(end))
    isWhole = false
  }
  if (alignment < BLOCK_BITS) return undefined
  const chunkBits = isWhole ? bitsToCover(size) : alignment
  const chunkCount = Math.ceil(size / 2 ** chunkBits)
  return chunkCount > MAX_CHUNKS ? undefined : { chunkBits, chunkCount }
}

const MAX_CHUNK_BITS = BLOCK_BITS + CHUNK_BLKBITS_MASK

function checkExtent(extent: ErofsExtent, end: number, size: number): void {
  const { fileOffset, deviceOffset, length } = extent
  const isSound =
    Number.isSafeInteger(fileOffset) &&
    Number.isSafeInteger(deviceOffset) &&
    Number.isSafeInteger(length) &&
    fileOffset >= end &&
    deviceOffset >= 0 &&
    length > 0 &&
    length <= size - fileOffset
  if (isSound) return
  throw new OcimountError(
    'INTERNAL',
    `Cannot place extent ${fileOffset}+${length} in a file of ${size} bytes: ` +
      'it overlaps another or leaves the file',
  )
}

function follows(previous: ErofsExtent, extent: ErofsExtent): boolean {
  return (
    extent.device === previous.device &&
    extent.fileOffset === previous.fileOffset + previous.length &&
    extent.deviceOffset === previous.deviceOffset + previous.length
  )
}

/** Gives the number of trailing zero bits of an offset; every chunk size divides 0. */
function alignmentOf(offset: number): number {
  if (offset === 0) return MAX_CHUNK_BITS
  const low = offset % 2 ** 32
  return low === 0 ? 32 + trailingZeros(offset / 2 ** 32) : trailingZeros(low)
}

function trailingZeros(value: number): number {
  return 31 - Math.clz32(value & -value)
}

/** Gives the smallest chunk that covers the whole file, so that its index is one slot. */
function bitsToCover(size: number): number {
  const last = Math.max(0, size - 1)
  const high = Math.floor(last / 2 ** 32)
  const bits = high === 0 ? 32 - Math.clz32(last) : 64 - Math.clz32(high)
  return Math.min(Math.max(bits, BLOCK_BITS), MAX_CHUNK_BITS)
}
