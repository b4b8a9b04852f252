// Gives up pieces of one file: finds those that were not used lately, by the marks that every reader sets (CLOCK), and
// punches them out. The order is what keeps any reader and any crash from zeros that count as bytes:
//
//   states absent ──▶ the reads that saw them present have ended ──▶ no other process uses them ──▶ data.map ──▶ holes

import { messageOf } from '../errors.js'
import { log } from '../logger.js'
import type { NativeBindings } from '../native.js'
import type { DataParts } from './data-parts.js'
import type { PieceLocks } from './piece-locks.js'
import { PIECE_SIZE, pieceRange } from './piece-map.js'
import type { PiecePresence } from './piece-presence.js'
import type { PieceStates } from './piece-states.js'
import type { PieceUse } from './piece-use.js'

export interface EvictorParts {
  readonly native: NativeBindings
  readonly parts: DataParts
  readonly states: PieceStates
  readonly use: PieceUse
  readonly locks: PieceLocks
  readonly presence: PiecePresence
  /** Tells whether a piece is being checked or made. */
  readonly isBusy: (piece: number) => boolean
}

/** Evicts pieces of one file. */
export class PieceEvictor {
  readonly #own: EvictorParts
  #hand = 0
  #victims: ReadonlySet<number> = new Set()
  #running: Promise<number> | undefined
  #isGivenUp = false

  constructor(own: EvictorParts) {
    this.#own = own
  }

  /** Resolves when a piece may be checked or made: at once unless it is being punched out. */
  async settled(piece: number): Promise<void> {
    while (this.#victims.has(piece)) await this.#running
  }

  /** Goes on from where it stopped until it has found so many pieces to give up, or is at the end of the file. */
  sweep(limit: number): { readonly pieces: readonly number[]; readonly isEnd: boolean } {
    const { states, use, isBusy } = this.#own
    const count = this.#isGivenUp ? 0 : states.bytes.length
    const pieces: number[] = []
    while (this.#hand < count && pieces.length < limit) {
      const piece = this.#hand++
      if (!states.isAbsent(piece) && !use.takeMark(piece) && !isBusy(piece)) pieces.push(piece)
    }
    const isEnd = this.#hand >= count
    if (isEnd) this.#hand = 0
    return { pieces, isEnd }
  }

  /** Punches pieces out where nobody else uses them, and gives the bytes that are free now. Never fails. */
  async evict(pieces: readonly number[]): Promise<number> {
    await this.#running
    this.#victims = new Set(pieces.filter((piece) => !this.#own.isBusy(piece)))
    this.#running = this.#evict([...this.#victims])
    try {
      return await this.#running
    } finally {
      this.#victims = new Set()
      this.#running = undefined
    }
  }

  /** Waits for an eviction under way. */
  async finish(): Promise<void> {
    await this.#running
  }

  async #evict(victims: readonly number[]): Promise<number> {
    const { native, parts, states, use, locks, presence } = this.#own
    const left = new Set(victims)
    let freed = 0
    try {
      for (const piece of victims) states.setAbsent(piece)
      await use.settle()
      const free = victims.filter((piece) => locks.claim(piece))
      presence.lose(free)
      // Also what is not punched is durable before its lock goes.
      if (!(await presence.flush())) return 0
      for (const piece of free) {
        const { start, length } = pieceRange(piece, parts.map.deviceSize)
        // Whole, also where the device ends in it: a part of a block would stay.
        native.punchHole(parts.handle.fd, start, PIECE_SIZE)
        left.delete(piece)
        freed += length
      }
    } catch (error) {
      this.#isGivenUp = true
      log.info({ path: parts.path, why: messageOf(error) }, 'cannot make room in the cache')
    } finally {
      // The bytes of what is left may be there or not: their digests tell.
      for (const piece of left) states.setUnchecked(piece)
      for (const piece of victims) locks.release(piece)
    }
    return freed
  }
}
