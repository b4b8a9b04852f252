// A sparse file while its map is being read: from the header block, the PAX records, or blocks that follow.

import { tarCorrupt, tarLimitExceeded } from './corrupt.js'
import { BLOCK_SIZE, FIELD } from './header.js'
import { MAX_META_BODY } from './limits.js'
import type { EntryDraft, Member } from './member.js'
import { parseDecimal, parseNumeric } from './numeric.js'
import type { PaxRecords, PaxSparse } from './pax.js'
import {
  layOutSegments,
  parsePaxSparseMap,
  paxSparseForm,
  readGnuExtensionMap,
  readGnuHeaderMap,
  SparseMapReader,
} from './sparse.js'

/**
 * Starts with the header block of a member and its PAX records.
 *
 * @returns undefined for a file that is not sparse, `unknown` for one whose PAX form nobody has defined
 */
export function startSparse(
  member: Member,
  pax: Readonly<PaxRecords>,
  block: Buffer,
  at: number,
): SparseMember | 'unknown' | undefined {
  if (member.typeFlag === 'S') {
    // STAR has a type S too, with a map in another place.
    if (member.dialect !== 'gnu') throw tarCorrupt(member.entry, 'type S outside the GNU dialect')
    return new SparseMember(member).startGnu(block, at)
  }
  if (pax.sparse === undefined) return undefined
  const form = paxSparseForm(pax.sparse)
  if (form === undefined || form === 'unknown') return form
  return new SparseMember(member).startPax(form, pax.sparse)
}

/** One sparse file; `finish` gives the entry once `isComplete`, until then blocks are wanted. */
export class SparseMember {
  readonly entry: EntryDraft
  isComplete = false
  #map: number[] = []
  #storedSize: number
  #mapSize = 0
  #lines: SparseMapReader | undefined

  /** The entry's `dataOffset` must be the offset behind the header block. */
  constructor(member: Member) {
    this.entry = member.entry
    this.#storedSize = member.storedSize
    if (this.entry.type === 'file') return
    throw tarCorrupt(this.entry, `a sparse map on what is no file but a ${this.entry.type}`)
  }

  startGnu(block: Buffer, at: number): this {
    const { at: field, length } = FIELD.realSize
    this.#setSize(parseNumeric(block, at + field, length))
    this.isComplete = !readGnuHeaderMap(block, at, this.#map)
    return this
  }

  startPax(form: 'pax-0.x' | 'pax-1.0', sparse: PaxSparse): this {
    const size = sparse.size || sparse.realSize
    if (size !== '') this.#setSize(parseDecimal(size))
    if (form === 'pax-1.0') {
      this.#lines = new SparseMapReader()
      this.#map = this.#lines.map
      this.#checkRoomForLines()
      return this
    }
    const map = parsePaxSparseMap(sparse)
    if (map === undefined)
      throw tarCorrupt(this.entry, 'the sparse map is not as long as announced')
    this.#map = map
    this.isComplete = true
    return this
  }

  /** Takes the block at `dataOffset`, which moves behind it. */
  takeBlock(bytes: Buffer, at: number): void {
    this.#mapSize += BLOCK_SIZE
    this.entry.dataOffset += BLOCK_SIZE
    if (this.#mapSize > MAX_META_BODY) {
      throw tarLimitExceeded(this.entry, `its sparse map is longer than ${MAX_META_BODY} bytes`)
    }
    if (this.#lines === undefined) {
      this.isComplete = !readGnuExtensionMap(bytes, at, this.#map)
      return
    }
    // The lines are part of the stored bytes, extension blocks are not.
    this.#storedSize -= BLOCK_SIZE
    const isEnd = this.#lines.read(bytes.subarray(at, at + BLOCK_SIZE))
    if (isEnd === undefined) throw tarCorrupt(this.entry, 'the sparse map has a bad number')
    this.isComplete = isEnd
    if (!isEnd) this.#checkRoomForLines()
  }

  /** Lays the map out and gives the bytes that are stored at `dataOffset`. */
  finish(): number {
    const { size, dataOffset } = this.entry
    const segments = layOutSegments(this.#map, size, dataOffset, this.#storedSize)
    if (typeof segments === 'string') throw tarCorrupt(this.entry, segments)
    this.entry.sparse = segments
    return this.#storedSize
  }

  #checkRoomForLines(): void {
    if (this.#storedSize >= BLOCK_SIZE) return
    throw tarCorrupt(this.entry, 'the sparse map is longer than the data')
  }

  #setSize(size: number): void {
    if (!Number.isSafeInteger(size) || size < 0) {
      throw tarCorrupt(this.entry, `the size ${size} of the sparse file is out of range`)
    }
    this.entry.size = size
  }
}
