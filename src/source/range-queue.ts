// So many requests at a time for parts of an image's blobs, those first that somebody waits for.

interface Waiting {
  readonly isUrgent: boolean
  readonly start: () => void
}

/** Of these, connections to one registry. */
const SLOTS = 6
/** The rest is kept for who comes and cannot wait. */
const IDLE_SLOTS = 4

/** Lets work begin when it is its turn. */
export class RangeQueue {
  readonly #waiting: Waiting[] = []
  #running = 0
  #idleRunning = 0

  /** Runs work when there is a place for it; whoever gives up before that gives up the place as well. */
  async run<T>(isUrgent: boolean, signal: AbortSignal, work: () => Promise<T>): Promise<T> {
    await this.#turn(isUrgent, signal)
    try {
      return await work()
    } finally {
      this.#running--
      if (!isUrgent) this.#idleRunning--
      this.#next()
    }
  }

  #turn(isUrgent: boolean, signal: AbortSignal): Promise<void> {
    return new Promise((resolve, reject) => {
      signal.throwIfAborted()
      const giveUp = (): void => {
        this.#waiting.splice(this.#waiting.indexOf(waiting), 1)
        reject(signal.reason as Error)
      }
      const waiting = {
        isUrgent,
        start: (): void => {
          signal.removeEventListener('abort', giveUp)
          resolve()
        },
      }
      this.#waiting.push(waiting)
      signal.addEventListener('abort', giveUp, { once: true })
      this.#next()
    })
  }

  #next(): void {
    while (this.#running < SLOTS) {
      const urgent = this.#waiting.findIndex(({ isUrgent }) => isUrgent)
      const index = urgent < 0 && this.#idleRunning < IDLE_SLOTS ? 0 : urgent
      const [next] = index < 0 ? [] : this.#waiting.splice(index, 1)
      if (next === undefined) return
      this.#running++
      if (!next.isUrgent) this.#idleRunning++
      next.start()
    }
  }
}
