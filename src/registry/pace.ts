// How slow is too slow: a server that sends a byte now and then would be waited for forever.

/** In the time that a connection may say nothing; less than the slowest line in use. */
const MIN_BYTES = 16 * 1024

/** Tells a connection that hardly sends anything from one that is slow: another one may do better, from where this one is. */
export class Pace {
  readonly #windowMs: number
  #sinceMs = performance.now()
  #bytes = 0

  constructor(windowMs: number) {
    this.#windowMs = windowMs
  }

  /** Takes note of bytes, and tells whether those of the last while were too few. */
  isTooSlow(bytes: number): boolean {
    this.#bytes += bytes
    const nowMs = performance.now()
    if (nowMs - this.#sinceMs < this.#windowMs) return false
    const isSlow = this.#bytes < MIN_BYTES
    this.#sinceMs = nowMs
    this.#bytes = 0
    return isSlow
  }
}
