// So many requests at a time for parts of an image's blobs, those first that somebody waits for. All share the line: what nobody waits
// for is asked for when so little is left of what somebody does that it arrives behind that. What somebody is likely to wait for next,
// since an earlier run did, is not kept back so, and has one place more: a second `import numpy` out of zstd:chunked asked for 15 to 24
// parts on demand before, those of mounting included, and for 6 to 16 with it, of 55 to 60 of a first one, and had its answer after 2.7
// to 2.9 s in place of 2.8 to 3.2.

import { WaitingLine, type Turn, type Waiting } from '../layer/waiting-line.js'

/** When work may begin. */
export interface RangeTurn extends Turn {
  /** What is asked for. */
  readonly bytes: number
}

/** Of these, connections to one registry. */
const SLOTS = 6
/** The rest is kept for who comes and cannot wait. */
const IDLE_SLOTS = 4
const LIKELY_SLOTS = 5
/** What a line of 100 Mbit/s carries in 20 ms, until which the first byte of another request comes. */
const NEARLY_THERE = 256 * 1024

/** Lets work begin when it is its turn. */
export class RangeQueue {
  readonly #line = new WaitingLine((first) => this.#admit(first))
  #running = 0
  #idleRunning = 0
  /** Of the urgent requests that run. */
  #urgentBytes = 0

  /** Runs work when there is a place for it; it is told whether it is urgent by then, and says how many bytes have come. */
  async run<T>(
    turn: RangeTurn,
    work: (isUrgent: boolean, onBytes: (bytes: number) => void) => Promise<T>,
  ): Promise<T> {
    const isUrgent = await this.#line.wait(turn, turn.bytes)
    let isAwaited = isUrgent
    let left = turn.bytes
    const onBytes = (bytes: number): void => {
      const come = Math.min(bytes, left)
      left -= come
      if (!isAwaited || come === 0) return
      this.#urgentBytes -= come
      this.#line.next()
    }
    const onHurry = (): void => {
      this.#urgentBytes += isAwaited ? 0 : left
      isAwaited = true
    }
    turn.hurry?.addEventListener('abort', onHurry, { once: true })
    try {
      return await work(isUrgent, onBytes)
    } finally {
      this.#running--
      if (!isUrgent) this.#idleRunning--
      turn.hurry?.removeEventListener('abort', onHurry)
      if (isAwaited) this.#urgentBytes -= left
      this.#line.next()
    }
  }

  #admit({ isUrgent, isLikely, size }: Waiting): boolean {
    if (this.#running >= SLOTS) return false
    const isFree = isLikely
      ? this.#idleRunning < LIKELY_SLOTS
      : this.#idleRunning < IDLE_SLOTS && this.#urgentBytes <= NEARLY_THERE
    if (!isUrgent && !isFree) return false
    this.#running++
    if (isUrgent) this.#urgentBytes += size
    else this.#idleRunning++
    return true
  }
}
