// So many requests at a time for parts of an image's blobs, those first that somebody waits for.

/** When work may begin. */
export interface Turn {
  readonly isUrgent: boolean
  /** Makes it urgent when it is aborted. */
  readonly hurry?: AbortSignal | undefined
  /** Gives up the place when it is aborted. */
  readonly signal: AbortSignal
}

interface Waiting {
  isUrgent: boolean
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

  /** Runs work when there is a place for it; it is told whether it is urgent by then. */
  async run<T>(turn: Turn, work: (isUrgent: boolean) => Promise<T>): Promise<T> {
    const isUrgent = await this.#wait(turn)
    try {
      return await work(isUrgent)
    } finally {
      this.#running--
      if (!isUrgent) this.#idleRunning--
      this.#next()
    }
  }

  /** Waits for a place, and tells whether it is one of an urgent request. */
  #wait({ isUrgent, hurry, signal }: Turn): Promise<boolean> {
    return new Promise((resolve, reject) => {
      signal.throwIfAborted()
      const onHurry = (): void => {
        waiting.isUrgent = true
        this.#next()
      }
      const leave = (): void => {
        signal.removeEventListener('abort', onAbort)
        hurry?.removeEventListener('abort', onHurry)
      }
      const onAbort = (): void => {
        leave()
        this.#waiting.splice(this.#waiting.indexOf(waiting), 1)
        reject(signal.reason as Error)
      }
      const waiting = {
        isUrgent: isUrgent || hurry?.aborted === true,
        start: (): void => {
          leave()
          resolve(waiting.isUrgent)
        },
      }
      this.#waiting.push(waiting)
      signal.addEventListener('abort', onAbort, { once: true })
      hurry?.addEventListener('abort', onHurry, { once: true })
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
