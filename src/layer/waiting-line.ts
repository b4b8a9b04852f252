// A line of those who wait for a place. Who is waited for goes first, then who is likely to be, and everybody may leave.

/** How somebody waits. */
export interface Turn {
  readonly isUrgent: boolean
  /** Whether somebody is likely to wait for it soon. */
  readonly isLikely?: boolean | undefined
  /** Makes it urgent when it is aborted. */
  readonly hurry?: AbortSignal | undefined
  /** Gives up the place when it is aborted. */
  readonly signal?: AbortSignal | undefined
}

/** Who wants a place. */
export interface Waiting {
  readonly isUrgent: boolean
  readonly isLikely: boolean
  /** What it takes, as the owner of the line counts. */
  readonly size: number
}

interface Entry extends Waiting {
  isUrgent: boolean
  readonly start: () => void
}

export class WaitingLine {
  readonly #entries: Entry[] = []
  readonly #admit: (first: Waiting) => boolean

  /** `admit` is called for who is first: it takes a place and says true, or there is none. */
  constructor(admit: (first: Waiting) => boolean) {
    this.#admit = admit
  }

  /**
   * Waits for a place, and tells whether it is one of somebody urgent.
   *
   * @throws the reason of the signal
   */
  wait({ isUrgent, isLikely = false, hurry, signal }: Turn, size: number): Promise<boolean> {
    return new Promise((resolve, reject) => {
      signal?.throwIfAborted()
      const onHurry = (): void => {
        entry.isUrgent = true
        this.next()
      }
      const leave = (): void => {
        signal?.removeEventListener('abort', onAbort)
        hurry?.removeEventListener('abort', onHurry)
      }
      const onAbort = (): void => {
        leave()
        this.#entries.splice(this.#entries.indexOf(entry), 1)
        reject(signal?.reason as Error)
        // It may have kept a smaller one waiting.
        this.next()
      }
      const entry: Entry = {
        ...{ size, isLikely, isUrgent: isUrgent || hurry?.aborted === true },
        start: () => {
          leave()
          resolve(entry.isUrgent)
        },
      }
      this.#entries.push(entry)
      signal?.addEventListener('abort', onAbort, { once: true })
      hurry?.addEventListener('abort', onHurry, { once: true })
      this.next()
    })
  }

  /** Lets in whoever may come in now. Called by the owner when a place was given back. */
  next(): void {
    for (;;) {
      const urgent = this.#entries.findIndex(({ isUrgent }) => isUrgent)
      const likely = this.#entries.findIndex(({ isLikely }) => isLikely)
      const index = urgent >= 0 ? urgent : Math.max(0, likely)
      const first = this.#entries[index]
      if (first === undefined || !this.#admit(first)) return
      this.#entries.splice(index, 1)
      first.start()
    }
  }
}
