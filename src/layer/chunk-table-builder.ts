// Collects the chunks of a lazy layer in the order of its device. How much of the blob each takes is known when all are there:
// a member or frame ends where the next one begins that anything is said of (checklist F-014).

import type { DecompressibleKind } from '../compression/detect.js'
import { packedBound } from '../compression/unpack-start.js'
import {
  CHUNK_RECORD_SIZE,
  chunkAt,
  chunkCount,
  MAX_CHUNK_STORED,
  writeChunk,
  type NewChunk,
} from './chunk-table.js'

/** Builds the records of one table. */
export class ChunkTableBuilder {
  #records = Buffer.alloc(1024 * CHUNK_RECORD_SIZE)
  #size = 0
  readonly #marks: number[] = []

  get count(): number {
    return this.#size / CHUNK_RECORD_SIZE
  }

  /** Notes where something in the blob begins or ends. */
  mark(compressedOffset: number): void {
    // Many chunks of a file can lie in one member.
    if (this.#marks.at(-1) !== compressedOffset) this.#marks.push(compressedOffset)
  }

  /** Adds the next chunk, whose beginning is marked by that. */
  add(chunk: NewChunk): void {
    if (this.#size === this.#records.length) {
      this.#records = Buffer.concat([this.#records], 2 * this.#records.length)
    }
    writeChunk(this.#records, this.#size, chunk)
    this.#size += CHUNK_RECORD_SIZE
    this.mark(chunk.compressedOffset)
  }

  /** Gives the records; chunks end before `end` in the blob. */
  finish(compression: DecompressibleKind, end: number): Buffer {
    const records = Buffer.from(this.#records.subarray(0, this.#size))
    this.#marks.push(end)
    const marks = Float64Array.from(this.#marks).sort()
    const table = { records }
    for (let index = 0; index < chunkCount(table); index++) {
      const { compressedOffset, innerOffset, length } = chunkAt(table, index)
      const stored = nextMark(marks, compressedOffset) - compressedOffset
      // Of a member the beginning is enough, a frame is unpacked whole; beyond this one it cannot be used.
      const most = compression === 'gzip' ? packedBound(innerOffset + length) : MAX_CHUNK_STORED + 1
      records.writeUInt32LE(Math.min(stored, most), index * CHUNK_RECORD_SIZE + 20)
    }
    return records
  }
}

function nextMark(marks: Float64Array, compressedOffset: number): number {
  let low = 0
  let high = marks.length
  while (low < high) {
    const middle = (low + high) >>> 1
    if ((marks[middle] ?? 0) > compressedOffset) high = middle
    else low = middle + 1
  }
  return marks[low] ?? compressedOffset
}
