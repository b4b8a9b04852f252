// So many requests at a time for parts of an image's blobs, those first that somebody waits for.

import { WaitingLine, type Turn } from '../layer/waiting-line.js'

/** Of these, connections to one registry. */
const SLOTS = 6
/** The rest is kept for who comes and cannot wait. */
const IDLE_SLOTS = 4

/** Lets work begin when it is its turn. */
export class RangeQueue {
  readonly #line = new WaitingLine(({ isUrgent }) => this.#admit(isUrgent))
  #running = 0
  #idleRunning = 0

  /** Runs work when there is a place for it; it is told whether it is urgent by then. */
  async run<T>(turn: Turn, work: (isUrgent: boolean) => Promise<T>): Promise<T> {
    const isUrgent = await this.#line.wait(turn, 1)
    try {
      return await work(isUrgent)
    } finally {
      this.#running--
      if (!isUrgent) this.#idleRunning--
      this.#line.next()
    }
  }

  #admit(isUrgent: boolean): boolean {
    if (this.#running >= SLOTS) return false
    if (!isUrgent && this.#idleRunning >= IDLE_SLOTS) return false
    this.#running++
    if (!isUrgent) this.#idleRunning++
    return true
  }
}
