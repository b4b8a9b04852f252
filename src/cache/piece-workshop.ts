// The work on the pieces of one file: checks them, makes them, stores them. Work on a piece is done once for all who want
// it; whoever comes meanwhile waits for the same promise. Nothing else touches states, map and holes.
//
//   unchecked ──digest right──▶ checked
//             ──digest wrong──▶ with a source: absent, made again; without: an error
//   absent    ──made──▶ checked, or in memory only where the disk is full

import { log } from '../logger.js'
import { loadNative } from '../native.js'
import { isOcimountError, OcimountError } from '../errors.js'
import type { CacheQuota, QuotaMember } from './cache-quota.js'
import { readPiece, type DataParts } from './data-parts.js'
import { PieceEvictor } from './piece-evictor.js'
import { PieceJobs } from './piece-jobs.js'
import { PieceLocks } from './piece-locks.js'
import { MAX_RUN, PieceMaker, type PieceSource } from './piece-maker.js'
import { PIECE_SIZE, pieceRange } from './piece-map.js'
import { PiecePresence, type MapStore } from './piece-presence.js'
import type { PieceStates } from './piece-states.js'
import { PieceUse } from './piece-use.js'
import { corruptError } from './storage-error.js'

export interface WorkshopOptions {
  readonly source: PieceSource | undefined
  readonly store: MapStore | undefined
  readonly quota: CacheQuota | undefined
  /** Says what a wrong piece means where it cannot be made again. */
  readonly onWrong: (problem: string) => Promise<OcimountError>
}

/** Looks after the pieces of one open file. */
export class PieceWorkshop implements QuotaMember {
  readonly maker: PieceMaker | undefined
  /** Undefined where this process gives up no pieces of the file. */
  readonly use: PieceUse | undefined
  readonly #parts: DataParts
  readonly #states: PieceStates
  readonly #options: WorkshopOptions
  readonly #locks: PieceLocks
  readonly #presence: PiecePresence | undefined
  readonly #evictor: PieceEvictor | undefined
  /** Pieces that are being checked or made. */
  readonly #jobs = new PieceJobs()
  #fills = 0
  #fillsEnded = 0

  constructor(parts: DataParts, states: PieceStates, options: WorkshopOptions) {
    this.#parts = parts
    this.#states = states
    this.#options = options
    const { source, store, quota } = options
    const native = source === undefined ? undefined : loadNative()
    this.#locks = new PieceLocks(native, parts.handle.fd)
    if (source === undefined) return
    this.maker = new PieceMaker(parts, source)
    if (store === undefined || !parts.isWritable) return
    const presence = new PiecePresence(parts, store, {
      learnsDigests: source.learnsDigests === true,
      onLost: (pieces) => {
        for (const piece of pieces) states.setAbsent(piece)
        this.maker?.restDisk('what was written did not become durable')
      },
    })
    this.#presence = presence
    if (native === undefined || quota === undefined) return
    this.use = new PieceUse(states.bytes.length)
    this.#evictor = new PieceEvictor({
      ...{ native, parts, states, presence, use: this.use, locks: this.#locks },
      isBusy: (piece) => this.#jobs.has(piece),
    })
    quota.join(this)
  }

  /** Tells whether this process writes to the file now, so that a change of it says nothing. */
  get isFilling(): boolean {
    return this.#fills > 0
  }

  /** Another number after each write of this process to the file. */
  get fillsEnded(): number {
    return this.#fillsEnded
  }

  /** Bytes of the device that are in the file. */
  presentBytes(): number {
    const { deviceSize } = this.#parts.map
    return Math.min(deviceSize, this.#states.presentCount() * PIECE_SIZE)
  }

  sweep(limit: number): { readonly pieces: readonly number[]; readonly isEnd: boolean } {
    return this.#evictor?.sweep(limit) ?? { pieces: [], isEnd: true }
  }

  async evict(pieces: readonly number[]): Promise<number> {
    // Punching changes the file as writing does.
    this.#fills++
    try {
      return (await this.#evictor?.evict(pieces)) ?? 0
    } finally {
      this.#fills--
      this.#fillsEnded++
    }
  }

  /** Tells whether a piece is neither in the file nor in memory. */
  isMissing(piece: number): boolean {
    return this.#states.isAbsent(piece) && this.maker?.unstored(piece) === undefined
  }

  /** Gives a piece's bytes after checking or making it. */
  obtain(piece: number, isUrgent = true): Promise<Buffer> {
    if (isUrgent) this.#jobs.awaits(piece)
    const busy = this.#jobs.get(piece)
    if (busy === undefined) return this.#jobs.start(piece, this.#checkOrMake(piece))
    if (isUrgent) this.#options.source?.hurry?.(piece)
    return busy
  }

  /** Starts work on pieces that nobody works on yet, runs of absent ones together. */
  startRuns(first: number, end: number, isUrgent = true): void {
    for (let piece = first; piece < end;) {
      let stop = piece
      while (stop < end && stop - piece < MAX_RUN && this.#isIdle(stop)) stop++
      if (stop - piece > 1) this.#startRun(piece, stop - piece, isUrgent)
      piece = Math.max(stop, piece + 1)
    }
  }

  /** Makes pieces ready that nobody waits for; failures show when somebody does. */
  fillAhead(first: number, end: number): void {
    if (this.maker?.isStoring !== true) return
    this.startRuns(first, end, false)
    for (let piece = first; piece < end; piece++) {
      if (!this.#states.isChecked(piece)) void this.obtain(piece, false).catch(() => undefined)
      this.#options.source?.noteGuess?.(piece)
    }
  }

  /**
   * Makes absent pieces that nobody waits for, and tells whether they are in the file now.
   *
   * @throws OcimountError what the source throws
   */
  async fillIdle(first: number, end: number): Promise<boolean> {
    if (this.maker?.isStoring !== true) return false
    this.startRuns(first, end, false)
    const pieces = Array.from({ length: end - first }, (_, index) => first + index)
    const absent = pieces.filter((piece) => this.#states.isAbsent(piece))
    const outcomes = await Promise.allSettled(absent.map((piece) => this.obtain(piece, false)))
    for (const outcome of outcomes) if (outcome.status === 'rejected') throw outcome.reason
    return !pieces.some((piece) => this.#states.isAbsent(piece))
  }

  /** Waits for work under way and makes what was made durable. */
  async finish(): Promise<void> {
    await this.#jobs.ended()
    if (this.#evictor !== undefined) await this.#options.quota?.leave(this)
    await this.#evictor?.finish()
    await this.#presence?.close()
  }

  async #checkOrMake(piece: number): Promise<Buffer> {
    await this.#evictor?.settled(piece)
    if (!this.#states.isAbsent(piece)) {
      // While another process punches it out there is nothing to check.
      const isLocked = this.#locks.share(piece, 1)
      if (!isLocked) this.#states.setAbsent(piece)
      const bytes = isLocked ? await this.#check(piece) : undefined
      if (bytes !== undefined) return bytes
    }
    const unstored = this.maker?.unstored(piece)
    if (unstored !== undefined) return unstored
    return pieceOf(await this.#make(piece, 1), 0)
  }

  /** Gives undefined for a piece that has to be made again. */
  async #check(piece: number): Promise<Buffer | undefined> {
    const { epoch } = this.#states
    const buffer = Buffer.allocUnsafeSlow(PIECE_SIZE)
    const { bytes, problem } = await readPiece(this.#parts, piece, buffer)
    if (problem === undefined) {
      if (epoch === this.#states.epoch) this.#states.setChecked(piece)
      this.use?.touch(piece)
      return bytes
    }
    if (this.maker === undefined) throw await this.#options.onWrong(problem)
    const details = { path: this.#parts.path, why: problem }
    if (isZero(bytes)) log.debug(details, 'another process has given up a piece; it is made again')
    else log.warn(details, 'a piece of the cache is made again')
    this.#states.setAbsent(piece)
    this.#presence?.lose([piece])
    return undefined
  }

  async #make(first: number, count: number): Promise<Buffer[]> {
    if (this.maker === undefined) throw corruptError(this.#parts.path, `piece ${first} is absent`)
    const { quota } = this.#options
    const { start } = pieceRange(first, this.#parts.map.deviceSize)
    const last = pieceRange(first + count - 1, this.#parts.map.deviceSize)
    const length = last.start + last.length - start
    const isReserved = quota?.reserve(length) ?? false
    const mayStore = (quota === undefined || isReserved) && this.#locks.share(first, count)
    let stored = 0
    this.#fills++
    try {
      const { pieces, isStored } = await this.maker.make(first, count, {
        mayStore,
        isUrgent: () => this.#jobs.isAwaited(first, count),
      })
      if (isStored) {
        this.#noteStored(pieces.map((_, index) => first + index))
        stored = length
      }
      return pieces
    } finally {
      if (isReserved) quota?.settle(length, stored)
      this.#fills--
      this.#fillsEnded++
    }
  }

  #noteStored(pieces: readonly number[]): void {
    for (const piece of pieces) {
      this.#states.setChecked(piece)
      this.use?.touch(piece)
    }
    this.#presence?.add(pieces)
  }

  #startRun(first: number, count: number, isUrgent: boolean): void {
    const run = this.#makeSettled(first, count)
    for (let index = 0; index < count; index++) {
      const piece = first + index
      if (isUrgent) this.#jobs.awaits(piece)
      const work = run.then(
        (pieces) => pieceOf(pieces, index),
        (error: unknown) => {
          // Who has waited in vain would wait once more; who came to wait meanwhile has not waited long.
          if (isUrgent && isOcimountError(error, 'REGISTRY_UNAVAILABLE')) throw error
          // One bad span must not take the good pieces beside it along.
          return this.#make(piece, 1).then((pieces) => pieceOf(pieces, 0))
        },
      )
      void this.#jobs.start(piece, work)
    }
  }

  async #makeSettled(first: number, count: number): Promise<Buffer[]> {
    for (let piece = first; piece < first + count; piece++) await this.#evictor?.settled(piece)
    return this.#make(first, count)
  }

  #isIdle(piece: number): boolean {
    return this.isMissing(piece) && !this.#jobs.has(piece)
  }
}

function isZero(bytes: Buffer): boolean {
  return bytes.equals(Buffer.alloc(bytes.length))
}

function pieceOf(pieces: readonly Buffer[], index: number): Buffer {
  const bytes = pieces[index]
  if (bytes === undefined) throw new OcimountError('INTERNAL', 'Cannot make a piece: too few came')
  return bytes
}
