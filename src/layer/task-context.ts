// What a task in a worker has of the world outside: a way to say how far it is, and to be told to stop.

import { OcimountError } from '../errors.js'

/** How often progress is reported. */
export const REPORT_INTERVAL_MS = 100

/** Handed to a task; both methods are cheap enough to be called for every chunk. */
export class TaskContext {
  readonly #onProgress: (done: number) => void
  #isAborted = false
  #nextReport = 0

  constructor(onProgress: (done: number) => void) {
    this.#onProgress = onProgress
  }

  /** Makes the task stop at its next chunk. */
  abort(): void {
    this.#isAborted = true
  }

  /** @throws OcimountError `INTERRUPTED` after {@link TaskContext.abort} */
  throwIfAborted(): void {
    if (this.#isAborted) {
      throw new OcimountError('INTERRUPTED', 'Cannot index a layer: it was interrupted')
    }
  }

  /** Passes progress on, about ten times a second. */
  report(done: number): void {
    const now = performance.now()
    if (now < this.#nextReport) return
    this.#nextReport = now + REPORT_INTERVAL_MS
    this.#onProgress(done)
  }
}
