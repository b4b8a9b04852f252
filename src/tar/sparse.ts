// Sparse maps in their four forms. A map lists the stretches of a file that are stored, as offset and length; the
// bytes lie one after the other behind the header.
//
//   gnu       type S: 4 pairs in the header, 21 in each extension block that follows it
//   pax-0.x   pairs in the records, each in its own (0.0) or all in one (0.1)
//   pax-1.0   decimal lines at the start of the data, count first, padded to whole blocks

import type { DataSegment } from './entry.js'
import { parseDecimal, parseNumeric } from './numeric.js'
import type { PaxSparse } from './pax.js'

/** `unknown` is a PAX form of a version that nobody has defined. */
export type PaxSparseForm = 'pax-0.x' | 'pax-1.0' | 'unknown'

/** Tells the form of a member's PAX map, or undefined where it has none. */
export function paxSparseForm(sparse: PaxSparse | undefined): PaxSparseForm | undefined {
  if (sparse === undefined) return undefined
  const { major, minor } = sparse
  if (major === '0' && (minor === '0' || minor === '1')) return 'pax-0.x'
  if (major === '1' && minor === '0') return 'pax-1.0'
  if (major !== '' || minor !== '') return 'unknown'
  return sparse.map.length > 0 ? 'pax-0.x' : undefined
}

/** Gives the numbers of a `pax-0.x` map, or undefined where their count is not as announced. */
export function parsePaxSparseMap(sparse: PaxSparse): number[] | undefined {
  if (parseDecimal(sparse.blockCount) * 2 !== sparse.map.length) return undefined
  return sparse.map.map(parseDecimal)
}

/** Reads the pairs of a GNU header block into `map`; tells whether an extension block follows. */
export function readGnuHeaderMap(bytes: Uint8Array, at: number, map: number[]): boolean {
  readGnuPairs(bytes, at + 386, 4, map)
  return bytes[at + 482] !== 0
}

/** Reads the pairs of a GNU extension block into `map`; tells whether another one follows. */
export function readGnuExtensionMap(bytes: Uint8Array, at: number, map: number[]): boolean {
  readGnuPairs(bytes, at, 21, map)
  return bytes[at + 504] !== 0
}

/** Reads a `pax-1.0` map block by block. */
export class SparseMapReader {
  /** Offsets and lengths in turn; complete once `read` gave true. */
  readonly map: number[] = []
  #wanted: number | undefined
  #value = 0
  #digits = 0

  /**
   * Takes the lines of one block; tells whether the map ended in it. The rest of that block is padding.
   *
   * @returns undefined where the block holds anything but decimal lines
   */
  read(block: Uint8Array): boolean | undefined {
    for (const byte of block) {
      if (byte >= 0x30 && byte <= 0x39) {
        this.#value = this.#value * 10 + (byte - 0x30)
        this.#digits++
      } else if (byte !== 0x0a || this.#digits === 0) {
        return undefined
      } else if (this.#endLine()) {
        return true
      }
    }
    return false
  }

  #endLine(): boolean {
    if (this.#wanted === undefined) this.#wanted = this.#value * 2
    else this.map.push(this.#value)
    this.#value = 0
    this.#digits = 0
    return this.map.length === this.#wanted
  }
}

/**
 * Lays the stored bytes out by a map.
 *
 * The stretches must be in ascending order, not overlap, lie within `size`, and take up exactly the
 * `stored` bytes at `dataOffset`. Empty ones, with which GNU tar marks the end, are left out.
 *
 * @returns what is wrong, where something is
 */
export function layOutSegments(
  map: readonly number[],
  size: number,
  dataOffset: number,
  stored: number,
): DataSegment[] | string {
  const segments: DataSegment[] = []
  let previousEnd = 0
  let used = 0
  for (let index = 0; index < map.length; index += 2) {
    const fileOffset = map[index] ?? NaN
    const length = map[index + 1] ?? NaN
    if (!isCount(fileOffset) || !isCount(length)) return 'the sparse map has a bad number'
    if (fileOffset < previousEnd) return 'the sparse map overlaps or is not in order'
    if (fileOffset + length > size) return `the sparse map goes beyond the file's ${size} bytes`
    if (length > 0) segments.push({ fileOffset, deviceOffset: dataOffset + used, length })
    previousEnd = fileOffset + length
    used += length
  }
  if (used === stored) return segments
  return `the sparse map covers ${used} bytes, but ${stored} are stored`
}

function readGnuPairs(bytes: Uint8Array, start: number, count: number, map: number[]): void {
  for (let at = start; at < start + count * 24; at += 24) {
    // The first field that is not set ends the pairs of this block, though not of the next.
    if (bytes[at] === 0) return
    map.push(parseNumeric(bytes, at, 12), parseNumeric(bytes, at + 12, 12))
  }
}

function isCount(value: number): boolean {
  return Number.isSafeInteger(value) && value >= 0
}
