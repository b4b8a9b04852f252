// Writes `data` and then the two files that make it count (piece-map.ts). The order is what a power cut cannot
// break: data is durable first, then digests, then data.map, without which no piece is present.

import { createHash, type Hash } from 'node:crypto'
import { open, type FileHandle } from 'node:fs/promises'
import { join } from 'node:path'
import { OcimountError } from '../errors.js'
import { FILE_MODE, syncDirectory, writeNewFile, writeParts } from './durable.js'
import {
  DATA_MAP_NAME,
  DATA_NAME,
  DIGESTS_NAME,
  encodeDigests,
  encodeFullMap,
  PIECE_SIZE,
} from './piece-map.js'
import { seal } from './sealed-file.js'
import { storageError } from './storage-error.js'

// A write below this waits for more, so that 16 KiB chunks do not cost a system call each.
const BATCH_SIZE = 1024 * 1024
// What may wait in memory for the disk; beyond it, write() asks the caller to wait.
const MAX_BACKLOG = 16 * 1024 * 1024
// Writing back behind the caller in steps, so that the last fsync has little left to wait for: of a layer that comes in over a
// network nothing else is left to do when its last byte is there.
const SYNC_STEP = 4 * 1024 * 1024

/**
 * Writes a layer's device bytes in order and hashes each piece on the way.
 *
 * Chunks are not copied: the caller leaves a chunk unchanged until the writer has finished.
 */
export class DataFileWriter {
  readonly #directory: string
  readonly #path: string
  readonly #handle: FileHandle
  readonly #digests: Buffer[] = []
  #hash: Hash = createHash('sha256')
  #pieceFill = 0
  #size = 0
  #written = 0
  #synced = 0
  #queue: Buffer[] = []
  #queued = 0
  #pumping: Promise<void> | undefined
  #syncing: Promise<void> | undefined
  #failure: OcimountError | undefined
  #state: 'open' | 'finished' | 'aborted' = 'open'

  private constructor(directory: string, path: string, handle: FileHandle) {
    this.#directory = directory
    this.#path = path
    this.#handle = handle
  }

  /**
   * Starts a new `data` file in a directory, which is usually a staging directory.
   *
   * @throws OcimountError `STORAGE_FULL`, `STORAGE_FAILED`; the latter also when there is one already.
   */
  static async create(directory: string): Promise<DataFileWriter> {
    const path = join(directory, DATA_NAME)
    try {
      return new DataFileWriter(directory, path, await open(path, 'wx', FILE_MODE))
    } catch (error) {
      throw storageError(error, 'write', path)
    }
  }

  /** Bytes taken so far. */
  get size(): number {
    return this.#size
  }

  /**
   * Takes the next chunk, of any length.
   *
   * A promise comes back when the disk is behind; wait for it before the next chunk. It rejects with
   * `STORAGE_FULL` or `STORAGE_FAILED` when an earlier write failed.
   */
  write(chunk: Buffer): Promise<void> | undefined {
    if (this.#state !== 'open') throw this.#misuse('write to')
    this.#digest(chunk)
    this.#size += chunk.length
    this.#queue.push(chunk)
    this.#queued += chunk.length
    if (this.#queued >= BATCH_SIZE) this.#pumping ??= this.#pump()
    if (this.#failure !== undefined) return Promise.reject(this.#failure)
    return this.#size - this.#written > MAX_BACKLOG ? this.#drain() : undefined
  }

  /**
   * Makes the bytes durable, then writes `digests` and `data.map`, durable as well.
   *
   * @throws OcimountError `STORAGE_FULL`, `STORAGE_FAILED`; nothing counts as present then.
   */
  async finish(): Promise<{ size: number }> {
    if (this.#state !== 'open') throw this.#misuse('finish')
    this.#state = 'finished'
    try {
      if (this.#queued > 0) this.#pumping ??= this.#pump()
      await this.#drain()
      await this.#syncing
      if (this.#failure !== undefined) throw this.#failure
      await this.#handle.sync()
    } catch (error) {
      throw storageError(error, 'write', this.#path)
    } finally {
      await this.#handle.close()
    }
    if (this.#pieceFill > 0) this.#endPiece()
    await this.#writeSealed(DIGESTS_NAME, encodeDigests(this.#size, this.#digests))
    await this.#writeSealed(DATA_MAP_NAME, encodeFullMap(this.#size))
    await syncDirectory(this.#directory)
    return { size: this.#size }
  }

  /** Closes the file without finishing it; harmless after {@link finish}. The caller removes the directory. */
  async abort(): Promise<void> {
    if (this.#state !== 'open') return
    this.#state = 'aborted'
    this.#queue = []
    this.#queued = 0
    await this.#pumping
    await this.#syncing
    await this.#handle.close()
  }

  #digest(chunk: Buffer): void {
    let offset = 0
    while (offset < chunk.length) {
      const end = Math.min(chunk.length, offset + PIECE_SIZE - this.#pieceFill)
      this.#hash.update(offset === 0 && end === chunk.length ? chunk : chunk.subarray(offset, end))
      this.#pieceFill += end - offset
      if (this.#pieceFill === PIECE_SIZE) this.#endPiece()
      offset = end
    }
  }

  #endPiece(): void {
    this.#digests.push(this.#hash.digest())
    this.#hash = createHash('sha256')
    this.#pieceFill = 0
  }

  /** Writes until the queue is empty; never rejects, a failure is kept for the next call. */
  async #pump(): Promise<void> {
    try {
      while (this.#queued > 0 && this.#failure === undefined) {
        const batch = this.#queue
        const length = this.#queued
        this.#queue = []
        this.#queued = 0
        await writeParts(this.#handle, batch, this.#written)
        this.#written += length
        if (this.#written - this.#synced >= SYNC_STEP) this.#syncing ??= this.#sync()
      }
    } catch (error) {
      this.#failure ??= storageError(error, 'write', this.#path)
    }
    this.#pumping = undefined
  }

  async #sync(): Promise<void> {
    const upTo = this.#written
    try {
      await this.#handle.datasync()
      this.#synced = upTo
    } catch (error) {
      this.#failure ??= storageError(error, 'write', this.#path)
    }
    this.#syncing = undefined
  }

  async #drain(): Promise<void> {
    await this.#pumping
    if (this.#failure !== undefined) throw this.#failure
  }

  async #writeSealed(name: string, parts: Buffer[]): Promise<void> {
    await writeNewFile(join(this.#directory, name), [...parts, seal(parts)])
  }

  #misuse(action: string): OcimountError {
    return new OcimountError('INTERNAL', `Cannot ${action} a data file: it is ${this.#state}`)
  }
}
