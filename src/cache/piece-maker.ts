// Makes absent pieces from their source, several at a time, and writes them to the file. Where the disk takes nothing, the
// bytes are kept in memory for a moment and the disk is tried again later: reading goes on without the cache.

import { isOcimountError, messageOf } from '../errors.js'
import { log } from '../logger.js'
import { digestsOf, type DataParts } from './data-parts.js'
import { MemoryCache } from './memory-cache.js'
import { PIECE_SIZE } from './piece-map.js'

/** Where pieces come from that are not in the file. */
export interface PieceSource {
  /**
   * Makes consecutive pieces whose digests are right, and writes them to `dataFd` at their addresses unless that is -1.
   *
   * @throws OcimountError when the bytes cannot be had or are not what they were; its detail `spans` names what is wrong
   */
  make(wanted: WantedPieces): Promise<MadePieces>
  /** Set where nobody knows what pieces hash to before they were made for the first time. */
  readonly learnsDigests?: boolean
  /**
   * Begins to fetch what a stretch of the device needs, where that is there sooner than the pieces that it lies in.
   *
   * @throws OcimountError as {@link PieceSource.make}
   */
  part?(stretch: Stretch): Promise<ComingPart | undefined>
  /** Gives pieces that are likely to be read first, in that order. */
  firstPieces?(): Promise<readonly FirstPiece[]>
  /** Tells whether a piece that nobody may want is had at little cost. */
  isCheap?(piece: number): boolean
  /** Told of a piece that was made on a guess: if the guess was right, nobody will be heard to miss it. */
  noteGuess?(piece: number): void
  /** Told that somebody waits for a piece now that is being made without urgency. */
  hurry?(piece: number): void
  /** What it took so far, where it comes from far away; undefined where nothing did. */
  fetched?(): FetchStats | undefined
  /** Gives up what is under way, since nobody waits any more. */
  stop?(): void
  close(): Promise<void>
}

/** Addresses of a device. */
export interface Stretch {
  readonly offset: number
  readonly length: number
}

/** What is on its way. */
export interface ComingPart {
  /** The verified bytes of the stretch; rejects as {@link PieceSource.make} does. */
  readonly bytes: Promise<Buffer>
}

/** A piece that is likely to be read soon after a mount. */
export interface FirstPiece {
  readonly piece: number
  /** When it was, in milliseconds after an earlier mount; Infinity where that was never seen. */
  readonly atMs: number
}

/** What was fetched for a layer. */
export interface FetchStats {
  /** Bytes as stored, those that turned out wrong included. */
  readonly fetchedBytes: number
  readonly requests: number
  /** Of these, those that were sent since somebody waited: for the table of contents or for a piece. */
  readonly demandRequests: number
  /** Why the last request failed; undefined where it did not. */
  readonly lastError: string | undefined
}

export interface WantedPieces {
  readonly firstPiece: number
  /** SHA-256 of each, zeros where nobody knows it; their number is the number of pieces. */
  readonly pieceDigests: Buffer
  readonly deviceSize: number
  readonly dataFd: number
  /** False as long as nobody waits for them; who does not ask at once asks again. */
  readonly isUrgent: () => boolean
}

export interface MadePieces {
  /** One after the other. */
  readonly bytes: Buffer
  /** Why they could not be written; undefined where they were, or were not to be. */
  readonly writeFailure: string | undefined
  /** SHA-256 of each, from a source that learns them: of bytes that it has verified in another way. */
  readonly pieceDigests?: Buffer
}

/** A piece that could not be made. */
export interface PieceFault {
  readonly piece: number
  /** Spans of the stored form of the layer that it needs, where they are known: `3` or `3-4`. */
  readonly spans: string | undefined
  readonly message: string
}

/** Pieces made in one call; each holds as many bytes in memory. */
export const MAX_RUN = 8
/** What the native server keeps too; a reader of small requests comes back for the rest of a piece. */
const MAX_UNSTORED = 16
const MAX_FAULTS = 100
const DISK_PATIENCE_MS = 30_000

/** Makes the pieces of one file. */
export class PieceMaker {
  readonly #parts: DataParts
  readonly #source: PieceSource
  readonly #unstored = new MemoryCache<number, Buffer>({ maxEntries: MAX_UNSTORED })
  readonly #faults = new Map<number, PieceFault>()
  #diskRestUntil = 0
  #isDiskReported = false

  constructor(parts: DataParts, source: PieceSource) {
    this.#parts = parts
    this.#source = source
  }

  /** What could not be made so far and was not made since. */
  get faults(): readonly PieceFault[] {
    return [...this.#faults.values()]
  }

  /** Tells whether what is made now would reach the file, as far as anybody knows. */
  get isStoring(): boolean {
    return this.#parts.isWritable && performance.now() >= this.#diskRestUntil
  }

  /** Gives a piece that was made a moment ago and could not be written. */
  unstored(piece: number): Buffer | undefined {
    return this.#unstored.get(piece)
  }

  /**
   * Makes consecutive pieces and tells whether they are in the file, which with `mayStore` false they are not.
   *
   * @throws OcimountError what the source throws; a failure to make a single piece is remembered and logged
   */
  async make(
    first: number,
    count: number,
    { mayStore, isUrgent }: { readonly mayStore: boolean; readonly isUrgent: () => boolean },
  ): Promise<{ pieces: Buffer[]; isStored: boolean }> {
    const { map, digests, handle } = this.#parts
    const dataFd = mayStore && this.isStoring ? handle.fd : -1
    let made: MadePieces
    try {
      made = await this.#source.make({
        firstPiece: first,
        pieceDigests: digestsOf(digests, first, count),
        deviceSize: map.deviceSize,
        dataFd,
        isUrgent,
      })
    } catch (error) {
      if (count === 1) this.#noteFault(first, error)
      throw error
    }
    made.pieceDigests?.copy(digestsOf(digests, first, count))
    const isStored = dataFd >= 0 && made.writeFailure === undefined
    const pieces = Array.from({ length: count }, (_, index) =>
      made.bytes.subarray(index * PIECE_SIZE, (index + 1) * PIECE_SIZE),
    )
    for (const [index, bytes] of pieces.entries()) {
      this.#faults.delete(first + index)
      if (isStored) this.#unstored.delete(first + index)
      // A copy where it is one of many, which it would otherwise keep in memory.
      else this.#unstored.set(first + index, count === 1 ? bytes : Buffer.from(bytes))
    }
    if (made.writeFailure !== undefined) this.restDisk(made.writeFailure)
    return { pieces, isStored }
  }

  /** Leaves a disk alone for a while that could not take what was written. */
  restDisk(why: string): void {
    this.#diskRestUntil = performance.now() + DISK_PATIENCE_MS
    const details = { path: this.#parts.path, why }
    if (this.#isDiskReported) log.debug(details, 'the cache still takes no pieces')
    else log.warn(details, 'the cache takes no pieces; reading goes on without it')
    this.#isDiskReported = true
  }

  #noteFault(piece: number, error: unknown): void {
    const spans = isOcimountError(error) ? error.details['spans'] : undefined
    const message = messageOf(error)
    if (this.#faults.get(piece)?.message === message || this.#faults.size >= MAX_FAULTS) return
    this.#faults.set(piece, {
      piece,
      spans: typeof spans === 'string' ? spans : undefined,
      message,
    })
    log.error({ path: this.#parts.path, piece, spans }, message)
  }
}
