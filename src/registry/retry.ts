// Tries again what may work the next time (checklist E-035): with growing pauses, or after the time that the server asks for.

import { setTimeout as sleep } from 'node:timers/promises'
import { isOcimountError, OcimountError } from '../errors.js'
import { log } from '../logger.js'
import { RegistryError } from './registry-error.js'

export interface RetryPolicy {
  readonly attempts: number
  /** The first pause; each further one is twice as long. */
  readonly firstMs: number
  readonly longestMs: number
  /** A server that wants to be left alone for longer is not waited for. */
  readonly longestWaitMs: number
  /** Called with each failure, also where the next attempt may succeed. */
  readonly onFailure?: ((error: RegistryError) => void) | undefined
}

export const DEFAULT_RETRIES: RetryPolicy = {
  attempts: 5,
  firstMs: 500,
  longestMs: 15_000,
  longestWaitMs: 60_000,
}

/** Counts the failures of one piece of work. */
export class Retries {
  readonly #policy: RetryPolicy
  readonly #signal: AbortSignal | undefined
  #failures = 0
  #last: RegistryError | undefined

  constructor(policy: RetryPolicy, signal: AbortSignal | undefined) {
    this.#policy = policy
    this.#signal = signal
  }

  /** Starts to count anew, since there was progress. */
  reset(): void {
    this.#failures = 0
    this.#last = undefined
  }

  /**
   * Waits until it is time for the next attempt.
   *
   * @throws the error itself when another attempt is no use or was the last; OcimountError `INTERRUPTED`
   */
  async pauseAfter(error: unknown): Promise<void> {
    if (!(error instanceof RegistryError)) throw this.#explained(error)
    const { attempts, firstMs, longestMs, longestWaitMs, onFailure } = this.#policy
    onFailure?.(error)
    if (!error.isTransient) throw error
    this.#failures++
    this.#last = error
    const { retryAfterMs } = error
    if (this.#failures >= attempts || (retryAfterMs ?? 0) > longestWaitMs) throw error
    const backOffMs = Math.min(longestMs, firstMs * 2 ** (this.#failures - 1))
    // Not in step with everybody else who was refused at the same moment.
    const pauseMs = retryAfterMs ?? backOffMs * (0.5 + Math.random() / 2)
    log.info({ why: error.message, pauseMs: Math.round(pauseMs) }, 'asking the registry again')
    const signal = this.#signal
    try {
      await sleep(pauseMs, undefined, signal === undefined ? {} : { signal })
    } catch {
      throw interruptedAfter(error)
    }
  }

  #explained(error: unknown): unknown {
    const last = this.#last
    return last !== undefined && isOcimountError(error, 'INTERRUPTED')
      ? interruptedAfter(last)
      : error
  }
}

/** What went wrong before says more than that the next attempt, or the pause in front of it, was cut short. */
function interruptedAfter(error: RegistryError): OcimountError {
  return new OcimountError('INTERRUPTED', 'Cannot pull: it was interrupted', { cause: error })
}

/** Runs work until it succeeds or there is no hope. */
export async function withRetries<T>(
  policy: RetryPolicy,
  signal: AbortSignal | undefined,
  work: () => Promise<T>,
): Promise<T> {
  const retries = new Retries(policy, signal)
  for (;;) {
    try {
      return await work()
    } catch (error) {
      await retries.pauseAfter(error)
    }
  }
}

/** Reads `Retry-After`: seconds or a date; undefined when it is neither. */
export function parseRetryAfter(header: string | undefined, nowMs: number): number | undefined {
  if (header === undefined) return undefined
  if (/^\s*\d{1,9}\s*$/.test(header)) return Number(header) * 1000
  const dateMs = Date.parse(header)
  return Number.isNaN(dateMs) ? undefined : Math.max(0, dateMs - nowMs)
}
