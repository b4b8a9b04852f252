// So many bytes in memory at a time, over all work that takes some: first come first served, but who is waited for goes first.

import { OcimountError } from '../errors.js'

/** How bytes are asked for. */
export interface BudgetTurn {
  readonly isUrgent: boolean
  /** Makes it urgent when it is aborted. */
  readonly hurry?: AbortSignal | undefined
  /** Gives up the place when it is aborted. */
  readonly signal?: AbortSignal | undefined
}

interface Waiting {
  readonly bytes: number
  isUrgent: boolean
  readonly start: () => void
}

export class ByteBudget {
  readonly #limit: number
  readonly #waiting: Waiting[] = []
  #taken = 0

  constructor(limit: number) {
    this.#limit = limit
  }

  /**
   * Waits until there is room, and gives what makes room again. More than the limit is given to whoever is alone.
   *
   * @throws OcimountError `INTERRUPTED` after the signal
   */
  async take(bytes: number, turn: BudgetTurn): Promise<() => void> {
    await this.#wait(bytes, turn)
    let isBack = false
    return () => {
      if (isBack) return
      isBack = true
      this.#taken -= bytes
      this.#next()
    }
  }

  #wait(bytes: number, { isUrgent, hurry, signal }: BudgetTurn): Promise<void> {
    return new Promise((resolve, reject) => {
      if (signal?.aborted === true) throw interrupted()
      const onHurry = (): void => {
        waiting.isUrgent = true
        this.#next()
      }
      const leave = (): void => {
        signal?.removeEventListener('abort', onAbort)
        hurry?.removeEventListener('abort', onHurry)
      }
      const onAbort = (): void => {
        leave()
        this.#waiting.splice(this.#waiting.indexOf(waiting), 1)
        reject(interrupted())
        // It may have kept a smaller one waiting.
        this.#next()
      }
      const waiting: Waiting = {
        bytes,
        isUrgent: isUrgent || hurry?.aborted === true,
        start: () => {
          leave()
          resolve()
        },
      }
      this.#waiting.push(waiting)
      signal?.addEventListener('abort', onAbort, { once: true })
      hurry?.addEventListener('abort', onHurry, { once: true })
      this.#next()
    })
  }

  #next(): void {
    for (;;) {
      const urgent = this.#waiting.findIndex(({ isUrgent }) => isUrgent)
      const index = Math.max(0, urgent)
      const next = this.#waiting[index]
      if (next === undefined) return
      if (this.#taken > 0 && this.#taken + next.bytes > this.#limit) return
      this.#waiting.splice(index, 1)
      this.#taken += next.bytes
      next.start()
    }
  }
}

function interrupted(): OcimountError {
  return new OcimountError('INTERRUPTED', 'Cannot read a layer: it was interrupted')
}
