// Which pieces of one `data` file the next process may find. A piece that was written is claimed in `data.map` only after
// fdatasync, and what other processes claimed meanwhile stays claimed:
//
//   add(piece) ──batched, flush()──▶ fdatasync ──▶ under the layer's lock: map = (map on disk − lost) + added, replaced whole
//   lose(piece) ──────────────────────────────────────┘
//
// Where what pieces hash to is learned as they are made, `digests` goes before the map in the same way.
//
// Nobody else can have lost a piece that is added here, since this process has it locked until it is flushed. A `data` that
// is no longer the file which is open here (dropped, pruned, made again whole) gets no claims from it.

import { fstatSync } from 'node:fs'
import { basename, dirname, join } from 'node:path'
import { isOcimountError, messageOf } from '../errors.js'
import { log } from '../logger.js'
import { digestsOf, type DataParts } from './data-parts.js'
import {
  DATA_MAP_NAME,
  decodeDigests,
  decodeMap,
  DIGESTS_NAME,
  encodeDigests,
  encodeMap,
  setPiece,
} from './piece-map.js'
import { lstatIfPresent, readSealedFile } from './sealed-file.js'
import { corruptError, storageError } from './storage-error.js'

/** How the files beside `data` are written; the cache, for one layer. */
export interface MapStore {
  /** Runs work while no other process changes the layer's files. */
  lock(work: () => Promise<void>): Promise<void>
  writeSealed(path: string, parts: readonly Uint8Array[]): Promise<void>
}

export interface PresenceOptions {
  /** Told of pieces that the disk could not make durable: the file may hold anything there. */
  readonly onLost: (pieces: readonly number[]) => void
  /** Whether the digests of added pieces may be new. */
  readonly learnsDigests: boolean
}

const FLUSH_DELAY_MS = 3000

/** Keeps `data.map` up to date with one open file. */
export class PiecePresence {
  readonly #parts: DataParts
  readonly #store: MapStore
  readonly #options: PresenceOptions
  readonly #added = new Set<number>()
  readonly #lost = new Set<number>()
  #timer: NodeJS.Timeout | undefined
  #tail: Promise<unknown> = Promise.resolve()
  #isReported = false

  constructor(parts: DataParts, store: MapStore, options: PresenceOptions) {
    this.#parts = parts
    this.#store = store
    this.#options = options
  }

  /** Notes pieces that were written. */
  add(pieces: readonly number[]): void {
    for (const piece of pieces) {
      this.#added.add(piece)
      this.#lost.delete(piece)
    }
    this.#timer ??= setTimeout(() => void this.flush(), FLUSH_DELAY_MS).unref()
  }

  /** Notes pieces that are not what the map says. */
  lose(pieces: readonly number[]): void {
    for (const piece of pieces) {
      this.#added.delete(piece)
      this.#lost.add(piece)
    }
    this.#timer ??= setTimeout(() => void this.flush(), FLUSH_DELAY_MS).unref()
  }

  /** Writes what was noted and tells whether that worked; a failure is logged once and what was noted forgotten. */
  flush(): Promise<boolean> {
    const flushing = this.#tail.then(() => this.#flush())
    this.#tail = flushing
    return flushing
  }

  /** Flushes for the last time. */
  async close(): Promise<void> {
    await this.flush()
    clearTimeout(this.#timer)
  }

  async #flush(): Promise<boolean> {
    clearTimeout(this.#timer)
    this.#timer = undefined
    const added = [...this.#added]
    const lost = [...this.#lost]
    if (added.length + lost.length === 0) return true
    this.#added.clear()
    this.#lost.clear()
    const { path, handle } = this.#parts
    try {
      if (added.length > 0) await handle.datasync()
    } catch (error) {
      // The kernel may have thrown the pages away; what the file holds now is anybody's guess.
      this.#options.onLost(added)
      this.#report(storageError(error, 'write', path))
      return false
    }
    try {
      await this.#store.lock(() => this.#merge(added, lost))
      return true
    } catch (error) {
      if (!isOcimountError(error)) throw error
      this.#report(error)
      return false
    }
  }

  async #merge(added: readonly number[], lost: readonly number[]): Promise<void> {
    const { path, handle, map: opened } = this.#parts
    const now = await lstatIfPresent(path)
    const own = fstatSync(handle.fd, { bigint: true })
    if (now?.ino !== own.ino || now.dev !== own.dev) return
    const mapPath = join(dirname(path), DATA_MAP_NAME)
    const bytes = await readSealedFile(mapPath)
    if (bytes === undefined) return
    const map = decodeMap(bytes, mapPath)
    if (map.deviceSize !== opened.deviceSize) return
    const before = Buffer.from(map.present)
    for (const piece of lost) setPiece(map.present, piece, false)
    for (const piece of added) setPiece(map.present, piece, true)
    if (before.equals(map.present)) return
    if (this.#options.learnsDigests) await this.#mergeDigests(added)
    await this.#store.writeSealed(mapPath, encodeMap(map))
  }

  async #mergeDigests(added: readonly number[]): Promise<void> {
    const { path, digests: own, map } = this.#parts
    const digestsPath = join(dirname(path), DIGESTS_NAME)
    const bytes = await readSealedFile(digestsPath)
    if (bytes === undefined) throw corruptError(digestsPath, 'it is missing')
    const digests = decodeDigests(bytes, map.deviceSize, digestsPath)
    const before = Buffer.from(digests)
    for (const piece of added) digestsOf(own, piece, 1).copy(digestsOf(digests, piece, 1))
    if (before.equals(digests)) return
    await this.#store.writeSealed(digestsPath, encodeDigests(map.deviceSize, [digests]))
  }

  #report(error: Error): void {
    const details = { layer: basename(dirname(this.#parts.path)), why: messageOf(error) }
    if (this.#isReported) log.debug(details, 'pieces of a layer are not kept')
    else log.warn(details, 'pieces of a layer are not kept; they are made again next time')
    this.#isReported = true
  }
}
