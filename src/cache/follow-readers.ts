// Makes the piece behind each that somebody has waited for. Who reads a small file reads its neighbours, and while it is busy with
// what it got nothing else uses the line. One at a time, of the newest place: what is under way is in the way of the next miss.
//
// Of the first `import numpy` out of zstd:chunked with an empty cache, 66 pieces at 100 Mbit/s and 20 ms, 18 need not be asked for
// then, for some 13 that nobody wants: 4.5 s and 37 MB in place of 5.2 s and 32 MB, on a machine that was busy.

import { setTimeout as sleep } from 'node:timers/promises'

export interface FollowerParts {
  /** Whether making it is worth a guess; it may be one that there is already, or none. */
  readonly isWorthIt: (piece: number) => boolean
  /** Makes a piece that nobody waits for. */
  readonly fill: (piece: number) => Promise<void>
  /** What is left to a reader to say where it goes on. */
  readonly pauseMs?: number
}

/** A reader that goes on at once goes on elsewhere, most of the time, and a guess would share the line with it. */
const PAUSE_MS = 10

/** Follows the readers of one file. */
export class ReaderFollower {
  readonly #parts: FollowerParts
  #next: number | undefined
  #isBusy = false

  constructor(parts: FollowerParts) {
    this.#parts = parts
  }

  /** Notes that somebody has got the pieces before this one. */
  onMade(piece: number): void {
    this.#next = piece
    if (!this.#isBusy) void this.#work()
  }

  async #work(): Promise<void> {
    this.#isBusy = true
    while (this.#next !== undefined) {
      await sleep(this.#parts.pauseMs ?? PAUSE_MS, undefined, { ref: false })
      const piece = this.#next
      this.#next = undefined
      // What cannot be made is told to who asks for it.
      if (this.#parts.isWorthIt(piece)) await this.#parts.fill(piece).catch(() => undefined)
    }
    this.#isBusy = false
  }
}
