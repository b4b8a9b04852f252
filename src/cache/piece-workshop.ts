// The work on the pieces of one file: checks them, makes them, stores them. Work on a piece is done once for all who want
// it; whoever comes meanwhile waits for the same promise. Nothing else touches states, map and holes.
//
//   unchecked ──digest right──▶ checked
//             ──digest wrong──▶ with a source: absent, made again; without: an error
//   absent    ──made──▶ checked, or in memory only where the disk is full

import { log } from '../logger.js'
import { loadNative } from '../native.js'
import { OcimountError } from '../errors.js'
import { readPiece, type DataParts } from './data-parts.js'
import { PieceEvictor } from './piece-evictor.js'
import { MAX_RUN, PieceMaker, type PieceSource } from './piece-maker.js'
import { PIECE_SIZE } from './piece-map.js'
import { PiecePresence, type MapStore } from './piece-presence.js'
import type { PieceStates } from './piece-states.js'
import { corruptError } from './storage-error.js'

export interface WorkshopOptions {
  readonly source: PieceSource | undefined
  readonly store: MapStore | undefined
  readonly maxBytes: number | undefined
  /** Says what a wrong piece means where it cannot be made again. */
  readonly onWrong: (problem: string) => Promise<OcimountError>
}

/** Looks after the pieces of one open file. */
export class PieceWorkshop {
  readonly maker: PieceMaker | undefined
  readonly #parts: DataParts
  readonly #states: PieceStates
  readonly #options: WorkshopOptions
  readonly #presence: PiecePresence | undefined
  readonly #evictor: PieceEvictor | undefined
  /** Pieces that are being checked or made. */
  readonly #busy = new Map<number, Promise<Buffer>>()
  #fills = 0
  #fillsEnded = 0

  constructor(parts: DataParts, states: PieceStates, options: WorkshopOptions) {
    this.#parts = parts
    this.#states = states
    this.#options = options
    const { source, store, maxBytes } = options
    if (source === undefined) return
    this.maker = new PieceMaker(parts, source)
    if (store === undefined || !parts.isWritable) return
    const presence = new PiecePresence(parts, store, (pieces) => {
      for (const piece of pieces) states.setAbsent(piece)
      this.maker?.restDisk('what was written did not become durable')
    })
    this.#presence = presence
    const native = maxBytes === undefined ? undefined : loadNative()
    if (native === undefined || maxBytes === undefined) return
    const isBusy = (piece: number): boolean => this.#busy.has(piece)
    this.#evictor = new PieceEvictor({ native, parts, states, presence, maxBytes, isBusy })
  }

  /** Tells whether this process writes to the file now, so that a change of it says nothing. */
  get isFilling(): boolean {
    return this.#fills > 0
  }

  /** Another number after each write of this process to the file. */
  get fillsEnded(): number {
    return this.#fillsEnded
  }

  /** Notes that a piece was read from the file. */
  use(piece: number): void {
    this.#evictor?.use(piece)
  }

  /** Gives a piece's bytes after checking or making it. */
  obtain(piece: number): Promise<Buffer> {
    return this.#busy.get(piece) ?? this.#work(piece, this.#checkOrMake(piece))
  }

  /** Starts work on pieces that nobody works on yet, runs of absent ones together. */
  startRuns(first: number, end: number): void {
    for (let piece = first; piece < end;) {
      let stop = piece
      while (stop < end && stop - piece < MAX_RUN && this.#isIdle(stop)) stop++
      if (stop - piece > 1) this.#startRun(piece, stop - piece)
      piece = Math.max(stop, piece + 1)
    }
  }

  /** Makes pieces ready that nobody waits for; failures show when somebody does. */
  fillAhead(first: number, end: number): void {
    if (this.maker?.isStoring !== true) return
    this.startRuns(first, end)
    for (let piece = first; piece < end; piece++) {
      if (!this.#states.isChecked(piece)) void this.obtain(piece).catch(() => undefined)
    }
  }

  /** Waits for work under way and makes what was made durable. */
  async finish(): Promise<void> {
    while (this.#busy.size > 0) await Promise.allSettled(this.#busy.values())
    await this.#evictor?.finish()
    await this.#presence?.close()
  }

  #work(piece: number, work: Promise<Buffer>): Promise<Buffer> {
    const done = work.finally(() => this.#busy.delete(piece))
    this.#busy.set(piece, done)
    // Whoever waits gets the error; nobody may.
    done.catch(() => undefined)
    return done
  }

  async #checkOrMake(piece: number): Promise<Buffer> {
    await this.#evictor?.settled(piece)
    if (!this.#states.isAbsent(piece)) {
      const bytes = await this.#check(piece)
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
      this.#evictor?.use(piece)
      return bytes
    }
    if (this.maker === undefined) throw await this.#options.onWrong(problem)
    log.warn({ path: this.#parts.path, why: problem }, 'a piece of the cache is made again')
    this.#states.setAbsent(piece)
    this.#presence?.lose([piece])
    return undefined
  }

  async #make(first: number, count: number): Promise<Buffer[]> {
    if (this.maker === undefined) throw corruptError(this.#parts.path, `piece ${first} is absent`)
    this.#fills++
    try {
      const { pieces, isStored } = await this.maker.make(first, count)
      if (isStored) this.#noteStored(pieces.map((_, index) => first + index))
      return pieces
    } finally {
      this.#fills--
      this.#fillsEnded++
    }
  }

  #noteStored(pieces: readonly number[]): void {
    for (const piece of pieces) {
      this.#states.setChecked(piece)
      this.#evictor?.use(piece)
    }
    this.#presence?.add(pieces)
    this.#evictor?.makeRoom()
  }

  #startRun(first: number, count: number): void {
    const run = this.#makeSettled(first, count)
    for (let index = 0; index < count; index++) {
      const piece = first + index
      const work = run.then(
        (pieces) => pieceOf(pieces, index),
        // One bad span must not take the good pieces beside it along.
        () => this.#make(piece, 1).then((pieces) => pieceOf(pieces, 0)),
      )
      void this.#work(piece, work)
    }
  }

  async #makeSettled(first: number, count: number): Promise<Buffer[]> {
    for (let piece = first; piece < first + count; piece++) await this.#evictor?.settled(piece)
    return this.#make(first, count)
  }

  #isIdle(piece: number): boolean {
    return (
      this.#states.isAbsent(piece) &&
      !this.#busy.has(piece) &&
      this.maker?.unstored(piece) === undefined
    )
  }
}

function pieceOf(pieces: readonly Buffer[], index: number): Buffer {
  const bytes = pieces[index]
  if (bytes === undefined) throw new OcimountError('INTERNAL', 'Cannot make a piece: too few came')
  return bytes
}
