// Waiting for a lock (lock.ts): how long, and when its owner counts as dead.

import { stat } from 'node:fs/promises'
import { setTimeout as sleep } from 'node:timers/promises'
import { escapeText } from '../byte-string.js'
import { OcimountError } from '../errors.js'
import { judgeOwner, parseOwnerTag } from './process-owner.js'
import { interruptedError, isMissing } from './storage-error.js'

export interface LockOptions {
  /** Stops waiting; the promise rejects with `INTERRUPTED`. */
  readonly signal?: AbortSignal | undefined
  /** How long a living owner is waited for. */
  readonly timeoutMs?: number | undefined
}

/** What the files of a lock say. */
export interface LockState {
  readonly token: string
  /** Number of claims, and so of the highest. */
  readonly claims: number
  readonly owner: string
  readonly ownerPath: string
}

// Long enough for the largest layer to be indexed by the other process.
const DEFAULT_TIMEOUT_MS = 15 * 60 * 1000
const FIRST_WAIT_MS = 2
const LONGEST_WAIT_MS = 100
/** How often an owner touches its file. */
export const SIGN_OF_LIFE_MS = 15_000
const FOREIGN_PATIENCE_MS = 4 * SIGN_OF_LIFE_MS

/** Counts time and judges owners for one attempt to take a lock. */
export class LockWait {
  readonly #name: string
  readonly #options: LockOptions
  readonly #start = performance.now()
  #pauseMs = FIRST_WAIT_MS
  #foreign: { path: string; mtimeMs: number; since: number } | undefined

  constructor(name: string, options: LockOptions) {
    this.#name = name
    this.#options = options
  }

  /** Tells whether the owner is dead, or taken for dead. */
  async isDead(state: LockState): Promise<boolean> {
    // A torn file is what a power cut leaves: its owner cannot run any more.
    if (parseOwnerTag(state.owner) === undefined) return true
    const judgement = judgeOwner(state.owner)
    if (judgement !== 'unknown') return judgement === 'dead'
    const mtimeMs = await mtimeOf(state.ownerPath)
    const known = this.#foreign
    if (known?.path !== state.ownerPath || known.mtimeMs !== mtimeMs) {
      // Measured on our own clock from when we saw it, so that nobody's wall clock matters.
      this.#foreign = { path: state.ownerPath, mtimeMs, since: performance.now() }
      return false
    }
    return performance.now() - known.since > FOREIGN_PATIENCE_MS
  }

  /** @throws OcimountError `CACHE_LOCKED` when the time is over, `INTERRUPTED` */
  async pause(state: LockState): Promise<void> {
    const { signal, timeoutMs = DEFAULT_TIMEOUT_MS } = this.#options
    if (performance.now() - this.#start >= timeoutMs) {
      const pid = parseOwnerTag(state.owner)?.pid ?? 0
      throw new OcimountError(
        'CACHE_LOCKED',
        `Cannot lock ${escapeText(this.#name)}: process ${pid} has held it for ${Math.round(timeoutMs / 1000)} s`,
        { details: { lock: this.#name, pid, owner: state.owner } },
      )
    }
    // Not in step with the others that wait.
    const pauseMs = this.#pauseMs * (0.5 + Math.random())
    this.#pauseMs = Math.min(LONGEST_WAIT_MS, this.#pauseMs * 1.5)
    try {
      await sleep(pauseMs, undefined, signal === undefined ? {} : { signal })
    } catch (error) {
      throw interruptedError('lock', this.#name, error)
    }
  }
}

async function mtimeOf(path: string): Promise<number> {
  try {
    return (await stat(path)).mtimeMs
  } catch (error) {
    if (isMissing(error)) return 0
    throw error
  }
}
