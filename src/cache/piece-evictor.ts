// Keeps a file of pieces below a number of bytes by punching out those used longest ago, as far as this process saw them
// used: what the addon's threads find in the file they read without a word.
//
// Only while no other process has the file open: every one holds a shared OFD lock, and this one makes its own exclusive
// for the time. The order is what keeps any reader and any crash from zeros that count as bytes: states, data.map, holes.

import { messageOf } from '../errors.js'
import { log } from '../logger.js'
import type { NativeBindings } from '../native.js'
import type { DataParts } from './data-parts.js'
import { PIECE_SIZE, pieceRange } from './piece-map.js'
import type { PiecePresence } from './piece-presence.js'
import type { PieceStates } from './piece-states.js'

// So that not every new piece costs an eviction of its own.
const KEPT_FRACTION = 0.9
const RETRY_MS = 1000

export interface EvictorParts {
  readonly native: NativeBindings
  readonly parts: DataParts
  readonly states: PieceStates
  readonly presence: PiecePresence
  readonly maxBytes: number
  /** Tells whether a piece is being checked or made. */
  readonly isBusy: (piece: number) => boolean
}

/** Evicts pieces of one file. */
export class PieceEvictor {
  readonly #own: EvictorParts
  /** Pieces of the file, in the order of their use. */
  readonly #used = new Set<number>()
  #victims: ReadonlySet<number> = new Set()
  #running: Promise<void> | undefined
  #notBefore = 0

  constructor(own: EvictorParts) {
    this.#own = own
    for (let piece = 0; piece < own.states.bytes.length; piece++) {
      if (!own.states.isAbsent(piece)) this.#used.add(piece)
    }
  }

  /** Notes that a piece of the file was used. */
  use(piece: number): void {
    this.#used.delete(piece)
    this.#used.add(piece)
  }

  /** Resolves when a piece may be written: at once unless it is being punched out. */
  async settled(piece: number): Promise<void> {
    while (this.#victims.has(piece)) await this.#running
  }

  /** Evicts where there is too much; never fails. */
  makeRoom(): void {
    const { maxBytes } = this.#own
    if (this.#used.size * PIECE_SIZE <= maxBytes || performance.now() < this.#notBefore) return
    this.#running ??= this.#evict().finally(() => {
      this.#running = undefined
    })
  }

  /** Waits for an eviction under way. */
  async finish(): Promise<void> {
    await this.#running
  }

  async #evict(): Promise<void> {
    const { native, parts, states, presence } = this.#own
    try {
      if (!native.lockFile(parts.handle.fd, 'write')) {
        this.#notBefore = performance.now() + RETRY_MS
        return
      }
    } catch (error) {
      this.#giveUp(error)
      return
    }
    const victims = this.#choose()
    try {
      this.#victims = new Set(victims)
      for (const piece of victims) states.setAbsent(piece)
      presence.lose(victims)
      if (!(await presence.flush())) {
        // The bytes are still there and still claimed.
        for (const piece of victims) states.setUnchecked(piece)
        this.#notBefore = performance.now() + RETRY_MS
        return
      }
      for (const piece of victims) {
        const { start, length } = pieceRange(piece, parts.map.deviceSize)
        native.punchHole(parts.handle.fd, start, length)
        this.#used.delete(piece)
      }
      states.nextGeneration()
    } catch (error) {
      this.#giveUp(error)
    } finally {
      this.#victims = new Set()
      native.lockFile(parts.handle.fd, 'read')
    }
  }

  #choose(): number[] {
    const { maxBytes, isBusy } = this.#own
    const excess = this.#used.size - Math.floor((maxBytes * KEPT_FRACTION) / PIECE_SIZE)
    const victims: number[] = []
    for (const piece of this.#used) {
      if (victims.length >= excess) break
      if (!isBusy(piece)) victims.push(piece)
    }
    return victims
  }

  #giveUp(error: unknown): void {
    log.info({ path: this.#own.parts.path, why: messageOf(error) }, 'cannot make room in the cache')
    this.#notBefore = Infinity
  }
}
