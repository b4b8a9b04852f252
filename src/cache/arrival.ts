// A blob that is read while it still comes in. Whoever follows it reads the partial file up to where it is written and waits
// there for more; it ends with the attempt that it belongs to:
//
//   coming ──right digest, named──▶ placed: the follower finishes what it does, and is waited for
//      └──── wrong, cut, given up ──▶ its signal: nothing of what it found may stay

import { constants } from 'node:fs'
import { open, type FileHandle } from 'node:fs/promises'
import { storageError } from './storage-error.js'

/** How many bytes of a file are written, from its beginning on. */
export class Arrival {
  readonly #listeners = new Set<(size: number) => void>()
  #size = 0

  get size(): number {
    return this.#size
  }

  advance(size: number): void {
    this.#size = size
    for (const listener of [...this.#listeners]) listener(size)
  }

  /** Calls back at once and whenever there is more, until the returned function is called. */
  watch(listener: (size: number) => void): () => void {
    this.#listeners.add(listener)
    listener(this.#size)
    return () => {
      this.#listeners.delete(listener)
    }
  }

  /**
   * Waits until so many bytes are there.
   *
   * @throws the reason of the signal
   */
  async reach(size: number, signal: AbortSignal): Promise<void> {
    if (this.#size >= size) return
    await new Promise<void>((resolve, reject) => {
      const end = (): void => {
        signal.removeEventListener('abort', end)
        unwatch()
        if (signal.aborted) reject(signal.reason as Error)
        else resolve()
      }
      const unwatch = this.watch((there) => {
        if (there >= size) end()
      })
      if (signal.aborted) end()
      else signal.addEventListener('abort', end)
    })
  }
}

/** What a follower has to do with. */
export interface ArrivingFile {
  /** Leads to the file as long as the follower runs, whatever it is called by then. */
  readonly path: string
  readonly arrival: Arrival
  /** Aborts when the attempt has failed. */
  readonly signal: AbortSignal
  /** Resolves when all bytes are there, right, and under their name; rejects when the signal aborts. */
  readonly placed: Promise<void>
}

/** Reads a blob that comes in. What it stores in the cache it stores after `placed`. */
export type Follow = (file: ArrivingFile) => Promise<void>

/** A follower of one attempt to get a blob. */
export class Follower {
  readonly #handle: FileHandle
  readonly #ending = new AbortController()
  readonly #work: Promise<void>
  #place: () => void = nothing
  #giveUp: (reason: unknown) => void = nothing
  #failure: { readonly reason: unknown } | undefined

  private constructor(handle: FileHandle, arrival: Arrival, follow: Follow) {
    this.#handle = handle
    const placed = new Promise<void>((resolve, reject) => {
      this.#place = resolve
      this.#giveUp = reject
    })
    placed.catch(nothing)
    const { signal } = this.#ending
    const path = `/proc/self/fd/${handle.fd}`
    this.#work = follow({ path, arrival, signal, placed })
    this.#work.catch((reason: unknown) => {
      this.#failure = { reason }
    })
  }

  /**
   * Has `follow` read a file that is written.
   *
   * @throws OcimountError `STORAGE_FAILED`
   */
  static async start(path: string, arrival: Arrival, follow: Follow): Promise<Follower> {
    try {
      const handle = await open(path, constants.O_RDONLY | constants.O_NOFOLLOW)
      return new Follower(handle, arrival, follow)
    } catch (error) {
      throw storageError(error, 'open', path)
    }
  }

  /** @throws what the follower has failed with, so far */
  throwIfFailed(): void {
    if (this.#failure !== undefined) throw this.#failure.reason
  }

  /**
   * Says that the blob is in its place, and waits for the follower.
   *
   * @throws what the follower fails with
   */
  async finish(): Promise<void> {
    this.#place()
    try {
      await this.#work
    } finally {
      await this.#handle.close()
    }
  }

  /** Ends the follower, whatever it has found; resolves when it has ended. */
  async cancel(reason: unknown): Promise<void> {
    this.#ending.abort(reason)
    this.#giveUp(reason)
    await this.#work.catch(nothing)
    await this.#handle.close()
  }
}

function nothing(): void {
  // What a cancelled follower says does not matter; what any other says is thrown by finish().
}
