// A blob on its way in, kept over a kill so that nothing is fetched twice (partial-names.ts). What is in it counts for nothing until
// all of it has the right digest.

import type { Hash } from 'node:crypto'
import { constants } from 'node:fs'
import { open, rm, type FileHandle } from 'node:fs/promises'
import { dirname } from 'node:path'
import type { OcimountError } from '../errors.js'
import { createDigestHash, digestAlgorithm, finishDigest, type Digest } from '../image/digest.js'
import { Arrival } from './arrival.js'
import { FILE_MODE, placeNewFile, withParent, writeParts } from './durable.js'
import { FreeSpaceGuard } from './free-space.js'
import { leaveToNobody, takeLongest } from './partial-names.js'
import { temporaryPath } from './staging.js'
import { storageError } from './storage-error.js'

/** One file, open, and the hash of what is in it. */
export class PartialBlob {
  readonly #path: string
  readonly #digest: Digest
  readonly #handle: FileHandle
  readonly #space: FreeSpaceGuard
  #arrival = new Arrival()
  #hash: Hash
  #size = 0
  #written = 0
  #batch: Uint8Array[] = []
  #batchSize = 0
  /** The write under way, while the next batch comes in. */
  #writing: Promise<void> = Promise.resolve()
  /** Writing back, so that the last sync has little left to wait for. */
  #syncing: Promise<void> | undefined
  #synced = 0
  #failure: OcimountError | undefined
  #isPlaced = false

  private constructor(path: string, digest: Digest, handle: FileHandle) {
    this.#path = path
    this.#digest = digest
    this.#handle = handle
    this.#hash = createDigestHash(digest)
    this.#space = new FreeSpaceGuard(dirname(path), `Cannot store blob ${digest}`)
  }

  /**
   * Takes over what an earlier attempt has left in `directory`, or begins anew.
   *
   * @throws OcimountError `STORAGE_FULL`, `STORAGE_FAILED`, `IMAGE_UNSUPPORTED` for a digest that cannot be computed
   */
  static async open(directory: string, digest: Digest, maxSize: number): Promise<PartialBlob> {
    createDigestHash(digest)
    const path = temporaryPath(directory)
    try {
      await takeLongest(directory, path)
      let handle: FileHandle | undefined
      await withParent(path, async () => {
        const flags = constants.O_RDWR | constants.O_CREAT | constants.O_NOFOLLOW
        handle = await open(path, flags, FILE_MODE)
      })
      if (handle === undefined) throw new Error('not opened')
      const blob = new PartialBlob(path, digest, handle)
      await blob.#readBack(maxSize)
      return blob
    } catch (error) {
      throw storageError(error, 'open', path)
    }
  }

  get path(): string {
    return this.#path
  }

  /** What of the file can be read; another one after {@link reset}. */
  get arrival(): Arrival {
    return this.#arrival
  }

  /** Bytes that are there. */
  get size(): number {
    return this.#size
  }

  /**
   * Takes a chunk over, which must not change from now on. It is written in time, at the latest by {@link place}.
   *
   * @throws OcimountError `STORAGE_FULL`, `STORAGE_FAILED`
   */
  async append(chunk: Uint8Array): Promise<void> {
    this.#hash.update(chunk)
    this.#size += chunk.length
    this.#batch.push(chunk)
    this.#batchSize += chunk.length
    if (this.#batchSize >= BATCH_BYTES) await this.#startWrite()
  }

  /** Gives the digest of all that is there; nothing can be appended afterwards, except after {@link reset}. */
  finishDigest(): Digest {
    return finishDigest(this.#hash, digestAlgorithm(this.#digest))
  }

  /** Throws away what is there. */
  async reset(): Promise<void> {
    try {
      await this.#drain()
      await this.#handle.truncate(0)
    } catch (error) {
      throw storageError(error, 'write', this.#path)
    }
    this.#hash = createDigestHash(this.#digest)
    this.#arrival = new Arrival()
    this.#size = 0
    this.#written = 0
    this.#synced = 0
  }

  /** Gives the file its name as a blob, durably, and closes it. The caller has compared the digest. */
  async place(path: string): Promise<void> {
    try {
      await this.#drain()
      await this.#handle.sync()
      await this.#handle.close()
    } catch (error) {
      throw storageError(error, 'write', this.#path)
    }
    await placeNewFile(this.#path, path)
    this.#isPlaced = true
    // Other attempts, of owners that lost a race, are of no use any more.
    await rm(dirname(this.#path), { recursive: true, force: true }).catch(() => undefined)
  }

  /** Closes the file and leaves it to whoever needs the blob next; an empty one goes. Harmless after {@link place}. */
  async leave(): Promise<void> {
    if (this.#isPlaced) return
    // What cannot be written is lost to the next attempt, and nothing more.
    await this.#drain().catch(() => undefined)
    await this.#handle.close()
    if (this.#size === 0) await rm(this.#path, { force: true })
    else await leaveToNobody(this.#path)
  }

  /** Starts to write what has come in, when the write before is done. */
  async #startWrite(): Promise<void> {
    await this.#writing
    const batch = this.#batch
    const position = this.#written
    await this.#space.check(position)
    this.#written += this.#batchSize
    this.#batch = []
    this.#batchSize = 0
    this.#writing = this.#write(batch, position)
    // Awaited before the next one, and never where the work ends before that.
    this.#writing.catch(ignore)
    // One at a time, and never waited for here: a slow disk must not slow down the network.
    if (position - this.#synced >= SYNC_BYTES) this.#syncing ??= this.#sync(position)
  }

  async #write(batch: readonly Uint8Array[], position: number): Promise<void> {
    const end = this.#written
    try {
      await writeParts(this.#handle, batch, position)
    } catch (error) {
      throw storageError(error, 'write', this.#path)
    }
    this.#arrival.advance(end)
  }

  /** Never rejects: a failure is told to one fsync alone, and so kept for {@link place}. */
  async #sync(position: number): Promise<void> {
    try {
      await this.#handle.datasync()
      this.#synced = position
    } catch (error) {
      this.#failure ??= storageError(error, 'write', this.#path)
    }
    this.#syncing = undefined
  }

  async #drain(): Promise<void> {
    if (this.#batchSize > 0) await this.#startWrite()
    await this.#writing
    await this.#syncing
    if (this.#failure !== undefined) throw this.#failure
  }

  /** Hashes what an earlier attempt has left. */
  async #readBack(maxSize: number): Promise<void> {
    const { size } = await this.#handle.stat()
    if (size > maxSize) {
      await this.reset()
      return
    }
    const buffer = Buffer.allocUnsafe(READ_BYTES)
    while (this.#size < size) {
      const { bytesRead } = await this.#handle.read(buffer, 0, buffer.length, this.#size)
      if (bytesRead === 0) break
      this.#hash.update(buffer.subarray(0, bytesRead))
      this.#size += bytesRead
    }
    this.#written = this.#size
    this.#arrival.advance(this.#size)
  }
}

const READ_BYTES = 1024 * 1024
/** Connections give pieces of 64 KiB or less; each write is a trip through the thread pool. */
const BATCH_BYTES = 1024 * 1024
const SYNC_BYTES = 16 * 1024 * 1024

function ignore(): void {
  // Thrown again to whoever awaits it.
}
