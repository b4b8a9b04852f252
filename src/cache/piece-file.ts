// Reads `data` of one layer, whole or sparse. A checked piece is read straight from the file; any other goes through the
// workshop first, which checks or makes it (piece-workshop.ts). Without a source of pieces a wrong one is CACHE_CORRUPT and
// the entry is dropped, to be made again by whoever comes next.
//
// The digest of a piece is compared before its first bytes are given out in this process, with what is in our memory; the
// directory lets nobody else write. read() has everything checked anew when the file changes and it was not us. Native
// threads notice only a file that was cut: a checked piece that is written over at the same length is given out as it is.

import { fstatSync, type BigIntStats } from 'node:fs'
import { isOcimountError, OcimountError } from '../errors.js'
import { log } from '../logger.js'
import type { NativeDevice } from '../native.js'
import type { CacheQuota } from './cache-quota.js'
import { dropData, openDataParts, readFully, type DataParts } from './data-parts.js'
import { ReaderFollower } from './follow-readers.js'
import type {
  ComingPart,
  FetchStats,
  FirstPiece,
  PieceFault,
  PieceSource,
  Stretch,
} from './piece-maker.js'
import { hasPiece, isWholeMap, PIECE_SIZE, pieceCount, pieceRange } from './piece-map.js'
import type { MapStore } from './piece-presence.js'
import { PieceStates } from './piece-states.js'
import { PieceWorkshop } from './piece-workshop.js'
import { ReadAhead } from './read-ahead.js'
import { lstatIfPresent } from './sealed-file.js'
import { corruptError } from './storage-error.js'

export interface PieceFileOptions {
  /** Makes absent pieces; from then on the file's to close, also where it is not there. */
  readonly source?: PieceSource | undefined
  /** Needed with a source, for what it makes to be found by the next process. */
  readonly store?: MapStore | undefined
  /** Has the file give up pieces when the cache is too large; needs a source and the addon. */
  readonly quota?: CacheQuota | undefined
}

/** A piece that is in no file, since the disk takes none. */
export interface UnstoredPiece {
  readonly piece: number
  readonly bytes: Buffer
}

/** What somebody waits for who needs nothing else of the pieces. */
export interface WantedPart extends Stretch {
  /** Called once at the most. */
  readonly give: (bytes: Buffer) => void
}

/** The uncompressed bytes of one layer in the cache. */
export class PieceFile {
  readonly #directory: string
  readonly #parts: DataParts
  readonly #states: PieceStates
  readonly #source: PieceSource | undefined
  readonly #workshop: PieceWorkshop
  readonly #ahead: ReadAhead
  /** The state of the file that the checked pieces were found in, and what this process had written by then. */
  #seen: { readonly stats: BigIntStats; readonly fillsEnded: number }
  #lastMissMs = -Infinity
  #follower: ReaderFollower | undefined
  #isDropped = false
  #closing: Promise<void> | undefined

  private constructor(directory: string, parts: DataParts, options: PieceFileOptions) {
    const { source, store, quota } = options
    const { map } = parts
    this.#directory = directory
    this.#parts = parts
    this.#states = new PieceStates(pieceCount(map.deviceSize), (piece) =>
      hasPiece(map.present, piece),
    )
    this.#source = source
    this.#workshop = new PieceWorkshop(parts, this.#states, {
      ...{ source, store, quota },
      onWrong: (problem) => this.#drop(problem),
    })
    this.#ahead = new ReadAhead((first, end) => {
      this.#workshop.fillAhead(first, Math.min(end, this.#states.bytes.length))
    })
    this.#seen = { stats: fstatSync(parts.handle.fd, { bigint: true }), fillsEnded: 0 }
  }

  /**
   * Opens the data in a layer's directory, or gives undefined where there is none.
   *
   * An entry whose parts do not fit together is dropped with a warning and counts as none.
   *
   * @throws OcimountError `STORAGE_FAILED`, `CACHE_LOCKED`
   */
  static async open(
    directory: string,
    options: PieceFileOptions = {},
  ): Promise<PieceFile | undefined> {
    try {
      const parts = await openDataParts(directory, { fills: options.source !== undefined })
      if (parts !== undefined) {
        const file = new PieceFile(directory, parts, options)
        await options.quota?.refresh()
        return file
      }
      await options.source?.close()
      return undefined
    } catch (error) {
      await options.source?.close()
      if (!isOcimountError(error, 'CACHE_CORRUPT')) throw error
      log.warn({ path: directory, why: error.message }, 'dropped a corrupt layer from the cache')
      await dropData(directory)
      return undefined
    }
  }

  /** Length of the device. */
  get size(): number {
    return this.#parts.map.deviceSize
  }

  /** Tells whether everything was there when the file was opened. */
  get isWhole(): boolean {
    return isWholeMap(this.#parts.map)
  }

  /** Bytes of the device that are in the file. */
  presentBytes(): number {
    return this.#workshop.presentBytes()
  }

  /** Pieces that cannot be had. */
  faults(): readonly PieceFault[] {
    return this.#workshop.maker?.faults ?? []
  }

  /** What its source has fetched, where it fetches. */
  fetched(): FetchStats | undefined {
    return this.#source?.fetched?.()
  }

  /** When a piece was last missed by somebody who waited for it, as `performance.now()` says it. */
  get lastMissMs(): number {
    return this.#lastMissMs
  }

  /** Pieces that are likely to be read first. */
  async firstPieces(): Promise<readonly FirstPiece[]> {
    const pieces = (await this.#source?.firstPieces?.()) ?? []
    return pieces.filter(({ piece }) => piece < this.#states.bytes.length)
  }

  /**
   * Makes pieces that nobody waits for; false where they cannot be kept, so that there is no use in it.
   *
   * @throws OcimountError as {@link PieceFile.read}
   */
  async fill(piece: number, count: number): Promise<boolean> {
    if (this.#closing !== undefined) return false
    return this.#workshop.fillIdle(piece, Math.min(piece + count, this.#states.bytes.length))
  }

  /** From now on makes, where that costs little, the piece behind each that somebody has waited for. */
  followReaders(): void {
    this.#follower ??= new ReaderFollower({
      isWorthIt: (piece) =>
        piece < this.#states.bytes.length &&
        this.#states.isAbsent(piece) &&
        this.#source?.isCheap?.(piece) === true,
      fill: async (piece) => {
        await this.fill(piece, 1)
        this.#source?.noteGuess?.(piece)
      },
    })
  }

  /** Native threads read the states, and lower one to unchecked where the file turns out to be cut. */
  native(): NativeDevice {
    const { handle } = this.#parts
    const use = this.#workshop.use?.bytes ?? NO_USE
    return {
      ...{ kind: 'pieces', size: this.size, fd: handle.fd, state: this.#states.bytes, use },
      hasParts: this.#source?.part !== undefined,
    }
  }

  /**
   * Fills the whole of `target` from `offset` on. May be called concurrently.
   *
   * @throws OcimountError `CACHE_CORRUPT` when bytes are not what was written or not there and cannot be made again, what
   *   the source throws, `STORAGE_FAILED` when the disk says no, `INTERNAL` for a range outside the device.
   */
  async read(target: Buffer, offset: number): Promise<void> {
    this.#checkRange(target.length, offset)
    let done = 0
    while (done < target.length) {
      const piece = Math.floor((offset + done) / PIECE_SIZE)
      const { start, length } = pieceRange(piece, this.size)
      const inPiece = offset + done - start
      const part = target.subarray(done, done + length - inPiece)
      if (this.#states.isChecked(piece) && (await this.#readChecked(piece, part, offset + done))) {
        this.#workshop.use?.touch(piece)
        done += part.length
      } else {
        if (this.#states.isAbsent(piece)) this.#noteMiss(piece, piece + 1)
        const bytes = await this.#obtain(piece)
        done += bytes.copy(target, done, inPiece)
      }
    }
  }

  /**
   * Makes pieces ready for native threads: checked and in the file. Gives those that are in memory only. Where what is wanted of
   * them can be had before, it is given then, and the pieces are nothing that anybody waits for.
   *
   * @throws OcimountError as {@link PieceFile.read}, at once where what is wanted cannot be had; else the other pieces are ready even
   *   then
   */
  async ensure(
    piece: number,
    count: number,
    wanted?: WantedPart,
  ): Promise<readonly UnstoredPiece[]> {
    this.#checkRange(0, piece * PIECE_SIZE)
    const end = Math.min(piece + count, this.#states.bytes.length)
    const part = wanted === undefined ? undefined : await this.#startPart(piece, end, wanted)
    this.#checkRange(0, piece * PIECE_SIZE)
    this.#workshop.startRuns(piece, end, part === undefined)
    this.#noteMiss(piece, end)
    const pieces = Array.from({ length: end - piece }, (_, index) => piece + index)
    const made = Promise.allSettled(pieces.map((one) => this.#ensureOne(one, part === undefined)))
    if (part !== undefined) wanted?.give(await part.bytes)
    const unstored = (await made).flatMap((outcome) => {
      if (outcome.status === 'rejected') throw outcome.reason
      return outcome.value ?? []
    })
    this.#follower?.onMade(end)
    return unstored
  }

  /** Waits for work under way, makes what was made durable and closes the file. */
  close(): Promise<void> {
    this.#closing ??= this.#close()
    return this.#closing
  }

  async #close(): Promise<void> {
    this.#source?.stop?.()
    await this.#workshop.finish()
    await this.#parts.handle.close()
    await this.#source?.close()
  }

  #noteMiss(first: number, end: number): void {
    this.#lastMissMs = performance.now()
    this.#ahead.onMiss(first, end)
  }

  #obtain(piece: number, isUrgent = true): Promise<Buffer> {
    return this.#closing === undefined
      ? this.#workshop.obtain(piece, isUrgent)
      : Promise.reject(closedError())
  }

  /** Begins to fetch a part of pieces of which nothing is there. */
  async #startPart(first: number, end: number, wanted: Stretch): Promise<ComingPart | undefined> {
    for (let piece = first; piece < end; piece++) {
      if (!this.#workshop.isMissing(piece)) return undefined
    }
    return this.#source?.part?.(wanted)
  }

  async #ensureOne(piece: number, isUrgent: boolean): Promise<UnstoredPiece | undefined> {
    let bytes: Buffer | undefined
    for (let round = 0; round < MAX_ROUNDS && !this.#states.isChecked(piece); round++) {
      bytes = await this.#obtain(piece, isUrgent)
      if (this.#workshop.maker?.unstored(piece) !== undefined) break
    }
    if (bytes === undefined || this.#states.isChecked(piece)) return undefined
    return { piece, bytes }
  }

  /** Reads bytes of a checked piece; false when it must be checked or made anew. */
  async #readChecked(piece: number, target: Buffer, offset: number): Promise<boolean> {
    const { use } = this.#workshop
    const counter = use?.enter()
    try {
      // Looked at again: whoever makes it absent waits only for those who have entered.
      return this.#states.isChecked(piece) && (await this.#readUnlessChanged(piece, target, offset))
    } finally {
      if (counter !== undefined) use?.leave(counter)
    }
  }

  async #readUnlessChanged(piece: number, target: Buffer, offset: number): Promise<boolean> {
    const before = this.#states.get(piece)
    const seen = this.#seen
    let isWhole: boolean
    let stats: BigIntStats
    try {
      isWhole = await readFully(this.#parts, target, offset)
      stats = fstatSync(this.#parts.handle.fd, { bigint: true })
    } catch (error) {
      throw this.#closing === undefined ? error : closedError()
    }
    const { isFilling, fillsEnded } = this.#workshop
    const isOurs = isFilling || fillsEnded !== this.#seen.fillsEnded
    const isChanged = seen === this.#seen && !isOurs && !isSameState(stats, seen.stats)
    // While it is being filled other changes go unseen.
    if (isChanged || (isOurs && !isFilling)) this.#seen = { stats, fillsEnded }
    // Removing the file or changing its mode changes it as well, so that is no error in itself.
    if (isChanged || !isWhole) this.#states.uncheckAll()
    return isWhole && this.#states.get(piece) === before
  }

  #checkRange(length: number, offset: number): void {
    if (this.#closing !== undefined) throw closedError()
    if (!Number.isSafeInteger(offset) || offset < 0 || offset + length > this.size) {
      const range = `${length} bytes at device offset ${offset}`
      throw new OcimountError('INTERNAL', `Cannot read ${range}: the device ends at ${this.size}`)
    }
  }

  /** Makes the next open find nothing and gives the error for this read. */
  async #drop(why: string): Promise<OcimountError> {
    const { path } = this.#parts
    if (!this.#isDropped) {
      // Once is enough: what is there after that was made by somebody else.
      this.#isDropped = true
      log.warn({ path, why }, 'dropped a corrupt layer from the cache')
      const now = await lstatIfPresent(path)
      // Another process may have dropped it and made it again by now.
      if (now?.ino === this.#seen.stats.ino && now.dev === this.#seen.stats.dev)
        await dropData(this.#directory)
    }
    return corruptError(path, why)
  }
}

const NO_USE = new Uint8Array(0)
/** A file that changes all the time is given up on. */
const MAX_ROUNDS = 4

function isSameState(a: BigIntStats, b: BigIntStats): boolean {
  return a.size === b.size && a.mtimeNs === b.mtimeNs && a.ctimeNs === b.ctimeNs
}

function closedError(): OcimountError {
  return new OcimountError('INTERNAL', 'Cannot read a data file: it is closed')
}
