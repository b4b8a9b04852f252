// The tar index reader as a state machine. It always wants one piece, of a length known in advance, at `nextOffset`:
//
//   header      a header block                                     → meta | sparse-map | header behind the content
//   meta        the body of an x, X, g, L or K member              → header
//   sparse-map  an extension block (GNU), a block of lines (PAX)   → sparse-map | header behind the content

import { escapeName, escapeText, type ByteString } from '../byte-string.js'
import type { OcimountError } from '../errors.js'
import { TarBudget } from './budget.js'
import { tarCorrupt, type TarPlace } from './corrupt.js'
import type { TarEntry, TarNote } from './entry.js'
import { BLOCK_SIZE, isChecksumRight, isZeroBlock } from './header.js'
import type { TarLimits } from './limits.js'
import { readListed, type ListedMembers } from './listed.js'
import { readMember } from './member.js'
import { announce, NOTHING_ANNOUNCED, readMetaHeader, type MetaHeader } from './meta.js'
import { parsePax } from './pax.js'
import { PieceReader } from './pieces.js'
import { startSparse, type SparseMember } from './sparse-member.js'

/** Where the parser delivers; both are called from within `write` and `end`, in the archive's order. */
export interface TarHandlers {
  onEntry(entry: TarEntry): void
  onNote?(note: TarNote): void
}

/**
 * Reads the headers of one archive from chunks of its uncompressed bytes.
 *
 * Works in both ways of reading: a caller that has every byte writes every chunk in order; one that has a
 * file reads a little at `nextOffset`, writes that, and goes on until `ended` or the end of the file, so that
 * content is never read. Only the map of a PAX 1.0 sparse file lies in the content, and is asked for.
 *
 * An entry is delivered as soon as its headers are complete, before its content was seen. What follows the
 * end marker is never listed, be it another archive (checklist B-122). After an error a parser is of no further use.
 */
export class TarParser {
  /** The end marker was seen. */
  ended = false

  readonly #handlers: TarHandlers
  readonly #budget: TarBudget
  readonly #pieces: PieceReader

  #state: 'header' | 'meta' | 'sparse-map' = 'header'
  #sawZeroBlock = false

  #announced = NOTHING_ANNOUNCED
  /** Where the header in hand begins, the headers that announced it included; -1 between members. */
  #headerOffset = -1
  #meta: MetaHeader | undefined
  #sparse: SparseMember | undefined

  /** The last member, and where its content ends without the padding, which a device may lack at its end. */
  #last: TarPlace = { path: undefined, headerOffset: 0 }
  #contentEnd = 0

  constructor(handlers: TarHandlers, limits: TarLimits = {}) {
    this.#handlers = handlers
    this.#budget = new TarBudget(limits)
    this.#pieces = new PieceReader((bytes, at, view) => {
      this.#takePiece(bytes, at, view)
    })
    this.#pieces.want(0, BLOCK_SIZE)
  }

  /** Device offset of the next byte that is needed; may lie behind the device's end. */
  get nextOffset(): number {
    return this.#pieces.nextOffset
  }

  /**
   * Takes the bytes of the device from `deviceOffset` on, which must not lie behind `nextOffset`.
   *
   * Chunks may overlap and repeat; bytes that are not needed are ignored. The chunk is not kept.
   *
   * @throws OcimountError `TAR_CORRUPT`, `LIMIT_EXCEEDED`
   */
  write(chunk: Uint8Array, deviceOffset: number): void {
    this.#pieces.write(chunk, deviceOffset)
  }

  /** Nothing but a header is wanted, and nothing was said about its member. */
  get isBetweenMembers(): boolean {
    const isFresh = this.#announced === NOTHING_ANNOUNCED && this.#headerOffset < 0
    const wantsHeader = this.#state === 'header' && !this.#pieces.isMidPiece
    return isFresh && wantsHeader && !this.#sawZeroBlock && !this.ended
  }

  /**
   * Takes members that somebody else has read, the first from the header at `nextOffset`, each other from that behind it; only
   * where `isBetweenMembers`.
   *
   * @throws OcimountError `LIMIT_EXCEEDED`
   */
  takeListed(members: ListedMembers): void {
    readListed(members, (entry) => {
      this.#emit(entry, entry.size)
    })
  }

  /**
   * Takes note that the device ends at `deviceSize`.
   *
   * A missing end marker is accepted where a member ends, with or without its padding (checklist B-120).
   *
   * @throws OcimountError `TAR_CORRUPT` where the archive is cut inside a header or file data
   */
  end(deviceSize: number): void {
    if (this.ended) {
      this.#noteTrailingData(deviceSize)
      return
    }
    if (deviceSize < this.#contentEnd) throw cutAt(deviceSize, this.#last)
    const isAnnounced = this.#headerOffset >= 0 && !this.#sawZeroBlock
    if (this.#pieces.isMidPiece || isAnnounced) {
      const headerOffset = this.#headerOffset < 0 ? this.#pieces.pieceOffset : this.#headerOffset
      throw cutAt(deviceSize, this.#sparse?.entry ?? { path: undefined, headerOffset })
    }
    if (deviceSize > this.nextOffset) throw this.#pieces.missing(deviceSize)
  }

  #takePiece(bytes: Buffer, at: number, view: DataView): void {
    switch (this.#state) {
      case 'header':
        this.#takeHeader(bytes, at, view)
        break
      case 'meta':
        if (this.#meta !== undefined) {
          this.#takeMeta(this.#meta, bytes.subarray(at, at + this.#meta.size))
        }
        break
      case 'sparse-map':
        if (this.#sparse !== undefined) {
          this.#sparse.takeBlock(bytes, at)
          this.#continueSparse(this.#sparse)
        }
        break
    }
  }

  #takeHeader(bytes: Buffer, at: number, view: DataView): void {
    if (bytes[at] === 0 && isZeroBlock(bytes, at)) {
      const behind = this.#pieces.pieceOffset + BLOCK_SIZE
      if (this.#sawZeroBlock) this.#pieces.stop(behind)
      else this.#wantHeader(behind)
      this.ended = this.#sawZeroBlock
      this.#sawZeroBlock = true
      return
    }
    if (this.#headerOffset < 0) this.#headerOffset = this.#pieces.pieceOffset
    const isRight = isChecksumRight(bytes, at, view)
    if (this.#sawZeroBlock || !isRight) {
      const place = { path: undefined, headerOffset: this.#pieces.pieceOffset }
      throw tarCorrupt(place, isRight ? 'it follows a single zero block' : 'its checksum is wrong')
    }
    const meta = readMetaHeader(bytes, at, this.#pieces.pieceOffset)
    if (meta === undefined) this.#takeMember(bytes, at)
    else this.#startMeta(meta)
  }

  #startMeta(meta: MetaHeader): void {
    const bodyOffset = this.#pieces.pieceOffset + BLOCK_SIZE
    this.#meta = meta
    this.#state = 'meta'
    this.#pieces.want(bodyOffset, meta.size)
    if (meta.size === 0) this.#takeMeta(meta, NO_BYTES)
  }

  #takeMeta(meta: MetaHeader, body: Buffer): void {
    this.#announced = announce(this.#announced, meta, body)
    this.#wantHeader(roundUp(this.#pieces.pieceOffset + body.length))
    if (meta.type !== 'g') return
    this.#headerOffset = -1
    this.#note('global-header', meta.place, `ignored: ${listKeys(parsePax(body, meta.place).keys)}`)
  }

  #takeMember(bytes: Buffer, at: number): void {
    const { pax } = this.#announced
    const member = readMember(bytes, at, this.#announced, this.#headerOffset)
    const { entry, storedSize, typeFlag } = member
    entry.dataOffset = this.#pieces.pieceOffset + BLOCK_SIZE
    if (member.isClamped) this.#note('clamped', entry, 'mtime is out of range')
    if (!member.isKnown) {
      this.#note('unknown-type', entry, `type ${escapeText(typeFlag)} is skipped`)
      this.#finishMember(entry, entry.dataOffset, storedSize)
      return
    }
    const sparse = startSparse(member, pax, bytes, at)
    if (sparse === undefined) this.#emit(entry, storedSize)
    else if (sparse === 'unknown') this.#emitUnknownSparse(entry, storedSize)
    else this.#continueSparse(sparse)
  }

  #continueSparse(sparse: SparseMember): void {
    if (sparse.isComplete) {
      this.#sparse = undefined
      this.#emit(sparse.entry, sparse.finish())
    } else {
      this.#sparse = sparse
      this.#state = 'sparse-map'
      this.#pieces.want(sparse.entry.dataOffset, BLOCK_SIZE)
    }
  }

  #emitUnknownSparse(entry: TarEntry, storedSize: number): void {
    // Go takes the map for content, and so does every engine.
    this.#note('unknown-type', entry, 'its sparse format is not known; taken for plain content')
    this.#emit(entry, storedSize)
  }

  #emit(entry: TarEntry, storedSize: number): void {
    this.#finishMember(entry, entry.dataOffset, storedSize)
    this.#budget.spendEntry(entry)
    this.#handlers.onEntry(entry)
  }

  #finishMember(place: TarPlace, dataOffset: number, storedSize: number): void {
    this.#contentEnd = dataOffset + storedSize
    if (!Number.isSafeInteger(this.#contentEnd + BLOCK_SIZE)) {
      throw tarCorrupt(place, `size ${storedSize} is out of range`)
    }
    this.#last = place
    this.#announced = NOTHING_ANNOUNCED
    this.#headerOffset = -1
    this.#wantHeader(roundUp(this.#contentEnd))
  }

  #wantHeader(deviceOffset: number): void {
    this.#state = 'header'
    this.#pieces.want(deviceOffset, BLOCK_SIZE)
  }

  #noteTrailingData(deviceSize: number): void {
    const length = deviceSize - this.nextOffset
    // Decided by length alone, so that both ways of reading say the same of an archive.
    const isRecordPadding = length < RECORD_SIZE && deviceSize % RECORD_SIZE === 0
    if (length <= 0 || isRecordPadding) return
    const place = { path: NO_NAME, headerOffset: this.#pieces.pieceOffset }
    this.#note('trailing-data', place, `${length} bytes follow the end marker`)
  }

  #note(kind: TarNote['kind'], place: MetaHeader['place'], detail: string): void {
    this.#budget.spendNote(place, detail)
    this.#handlers.onNote?.({ kind, path: place.path, detail, headerOffset: place.headerOffset })
  }
}

const NO_NAME = '' as ByteString
const NO_BYTES = Buffer.alloc(0)
/** Archivers fill the last record, of 20 blocks unless told otherwise, with zeros. */
const RECORD_SIZE = 20 * BLOCK_SIZE
/** A note names a few keys of a header that may hold thousands. */
const SHOWN_KEYS = 8

function cutAt(deviceSize: number, place: TarPlace): OcimountError {
  return tarCorrupt(place, `the archive ends inside of it, at device offset ${deviceSize}`)
}

function listKeys(keys: readonly ByteString[]): string {
  const shown = keys.slice(0, SHOWN_KEYS).map((key) => escapeName(key))
  return keys.length > SHOWN_KEYS ? `${shown.join(', ')}, …` : shown.join(', ')
}

function roundUp(deviceOffset: number): number {
  return Math.ceil(deviceOffset / BLOCK_SIZE) * BLOCK_SIZE
}
