// Tells once per cause why readers of a mount get EIO.

import { OcimountError, messageOf } from '../errors.js'
import { log } from '../logger.js'
import { errnoOf } from './errno.js'

// Messages name offsets, so one bad disk can have many causes; after these the log says no more.
const MAX_CAUSES = 100

/** Turns what an operation threw into an errno, and logs each cause the first time it is met. */
export class FaultLog {
  readonly #seen = new Set<string>()

  /** Gives the negative errno for a failure of the named operation. */
  report(operation: string, error: unknown): number {
    this.note(operation, error)
    return -errnoOf(error)
  }

  /** Logs a failure unless one like it was logged already. */
  note(operation: string, error: unknown): void {
    const message = messageOf(error)
    const code = error instanceof OcimountError ? error.code : 'INTERNAL'
    const cause = `${code} ${message}`
    if (this.#seen.size >= MAX_CAUSES || this.#seen.has(cause)) return
    this.#seen.add(cause)
    const stack = code === 'INTERNAL' && error instanceof Error ? { stack: error.stack } : {}
    log.error({ operation, code, ...stack }, message)
    if (this.#seen.size === MAX_CAUSES) {
      log.error({}, 'Further failures of this mount are not logged')
    }
  }
}
