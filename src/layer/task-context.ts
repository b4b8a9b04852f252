// What a task in a worker has of the world outside: a way to say how far it is, and to be told to stop and what has
// arrived.

import { Arrival } from '../cache/arrival.js'
import { OcimountError } from '../errors.js'

/** How often progress is reported. */
export const REPORT_INTERVAL_MS = 100

/** Handed to a task; its methods are cheap enough to be called for every chunk. */
export class TaskContext {
  readonly #onProgress: (done: number) => void
  readonly #arrival = new Arrival()
  readonly #ending = new AbortController()
  #nextReport = 0

  constructor(onProgress: (done: number) => void) {
    this.#onProgress = onProgress
  }

  /** Makes the task stop at its next chunk. */
  abort(): void {
    this.#ending.abort(new OcimountError('INTERRUPTED', 'Cannot index a layer: it was interrupted'))
  }

  /** @throws OcimountError `INTERRUPTED` after {@link TaskContext.abort} */
  throwIfAborted(): void {
    this.#ending.signal.throwIfAborted()
  }

  /** So many bytes of the blob can be read by now, where it is still coming in. */
  advance(size: number): void {
    this.#arrival.advance(size)
  }

  /**
   * Waits until so many bytes of the blob can be read.
   *
   * @throws OcimountError `INTERRUPTED` after {@link TaskContext.abort}
   */
  reach(size: number): Promise<void> {
    return this.#arrival.reach(size, this.#ending.signal)
  }

  /** Passes progress on, about ten times a second. */
  report(done: number): void {
    const now = performance.now()
    if (now < this.#nextReport) return
    this.#nextReport = now + REPORT_INTERVAL_MS
    this.#onProgress(done)
  }
}
