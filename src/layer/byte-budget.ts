// So many bytes in memory at a time, over all work that takes some: first come first served, but who is waited for goes first.

import { OcimountError } from '../errors.js'
import { WaitingLine, type Turn } from './waiting-line.js'

export class ByteBudget {
  readonly #limit: number
  readonly #line = new WaitingLine(({ size }) => this.#admit(size))
  #taken = 0

  constructor(limit: number) {
    this.#limit = limit
  }

  /**
   * Waits until there is room, and gives what makes room again. More than the limit is given to whoever is alone.
   *
   * @throws OcimountError `INTERRUPTED` after the signal
   */
  async take(bytes: number, turn: Turn): Promise<() => void> {
    await this.#line.wait(turn, bytes).catch((error: unknown) => {
      throw new OcimountError('INTERRUPTED', 'Cannot read a layer: it was interrupted', {
        cause: error,
      })
    })
    let isBack = false
    return () => {
      if (isBack) return
      isBack = true
      this.#taken -= bytes
      this.#line.next()
    }
  }

  #admit(bytes: number): boolean {
    if (this.#taken > 0 && this.#taken + bytes > this.#limit) return false
    this.#taken += bytes
    return true
  }
}
