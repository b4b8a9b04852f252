// Work on pieces of one file that is under way, each piece once for all who want it, and which of it somebody waits for.

/** The work under way. */
export class PieceJobs {
  readonly #busy = new Map<number, Promise<Buffer>>()
  readonly #awaited = new Set<number>()

  get(piece: number): Promise<Buffer> | undefined {
    return this.#busy.get(piece)
  }

  has(piece: number): boolean {
    return this.#busy.has(piece)
  }

  /** Notes work on a piece; whoever waits gets its error, and nobody has to. */
  start(piece: number, work: Promise<Buffer>): Promise<Buffer> {
    const done = work.finally(() => {
      this.#busy.delete(piece)
      this.#awaited.delete(piece)
    })
    this.#busy.set(piece, done)
    done.catch(() => undefined)
    return done
  }

  /** Notes that somebody waits for a piece, until the work on it ends. */
  awaits(piece: number): void {
    this.#awaited.add(piece)
  }

  /** Tells whether somebody waits for one of some pieces by now. */
  isAwaited(first: number, count: number): boolean {
    for (let piece = first; piece < first + count; piece++) {
      if (this.#awaited.has(piece)) return true
    }
    return false
  }

  /** Resolves when nothing is under way. */
  async ended(): Promise<void> {
    while (this.#busy.size > 0) await Promise.allSettled(this.#busy.values())
  }
}
