// Reads `data` of one layer. A piece goes through these states, in each process that has the file open:
//
//   absent ──▶ error      unchecked ──first read, digest right──▶ checked ──▶ read straight from the file
//                         unchecked ──digest wrong──▶ CACHE_CORRUPT, the entry is dropped
//   checked ──the file's size, mtime or ctime is another one──▶ unchecked
//
// The digests are in our memory, so whatever is done to the file, only bytes that match them are given out.

import { createHash } from 'node:crypto'
import { constants, fstatSync, type BigIntStats } from 'node:fs'
import { open, rm, type FileHandle } from 'node:fs/promises'
import { join } from 'node:path'
import { isOcimountError, OcimountError, systemErrorCode } from '../errors.js'
import { log } from '../logger.js'
import type { NativeDevice } from '../native.js'
import {
  DATA_MAP_NAME,
  DATA_NAME,
  decodeDigests,
  decodeMap,
  DIGESTS_NAME,
  hasPiece,
  PIECE_DIGEST_SIZE,
  PIECE_SIZE,
  pieceCount,
  type PieceMap,
} from './piece-map.js'
import { lstatIfPresent, readSealedFile } from './sealed-file.js'
import { corruptError, isMissing, storageError } from './storage-error.js'

export { DataFileWriter } from './data-file-writer.js'

// The states of a piece; the addon knows the numbers too.
const PIECE_ABSENT = 0
const PIECE_UNCHECKED = 1
const PIECE_CHECKED = 2

// Buffers kept for pieces to be checked; more reads than this at once allocate their own.
const MAX_SPARE_BUFFERS = 4

/** The uncompressed bytes of one layer in the cache. */
export class DataFile {
  readonly #directory: string
  readonly #path: string
  readonly #handle: FileHandle
  readonly #map: PieceMap
  readonly #digests: Buffer
  /** What this process knows of each piece. */
  readonly #states: Uint8Array
  readonly #spare: Buffer[] = []
  #seen: BigIntStats
  #isDropping = true
  #isClosed = false

  private constructor(directory: string, handle: FileHandle, map: PieceMap, digests: Buffer) {
    this.#directory = directory
    this.#path = join(directory, DATA_NAME)
    this.#handle = handle
    this.#map = map
    this.#digests = digests
    this.#states = new Uint8Array(pieceCount(map.deviceSize))
    this.#uncheck()
    this.#seen = fstatSync(handle.fd, { bigint: true })
  }

  /**
   * Opens the data in a layer's directory, or gives undefined where there is none.
   *
   * An entry whose parts do not fit together is dropped with a warning and counts as none.
   *
   * @throws OcimountError `STORAGE_FAILED`
   */
  static async open(directory: string): Promise<DataFile | undefined> {
    try {
      return await DataFile.#open(directory, true)
    } catch (error) {
      if (!isOcimountError(error, 'CACHE_CORRUPT')) throw error
      log.warn({ path: directory, why: error.message }, 'dropped a corrupt layer from the cache')
      await dropData(directory)
      return undefined
    }
  }

  /** The same as {@link DataFile.open}, but for a check: throws `CACHE_CORRUPT` and drops nothing, now or later. */
  static openForCheck(directory: string): Promise<DataFile | undefined> {
    return DataFile.#open(directory, false)
  }

  static async #open(directory: string, isDropping: boolean): Promise<DataFile | undefined> {
    const mapPath = join(directory, DATA_MAP_NAME)
    const digestsPath = join(directory, DIGESTS_NAME)
    const path = join(directory, DATA_NAME)
    const [mapBytes, digestBytes] = await Promise.all([
      readSealedFile(mapPath),
      readSealedFile(digestsPath),
    ])
    if (mapBytes === undefined) return undefined
    if (digestBytes === undefined) throw corruptError(digestsPath, 'it is missing')
    const map = decodeMap(mapBytes, mapPath)
    const digests = decodeDigests(digestBytes, map.deviceSize, digestsPath)
    const handle = await openData(path)
    let file: DataFile
    try {
      file = new DataFile(directory, handle, map, digests)
      file.#isDropping = isDropping
      if (!file.#seen.isFile()) throw corruptError(path, 'it is not a regular file')
      if (file.#seen.size !== BigInt(map.deviceSize))
        throw corruptError(path, 'its length is wrong')
    } catch (error) {
      await handle.close()
      throw error
    }
    return file
  }

  /** Length of the device. */
  get size(): number {
    return this.#map.deviceSize
  }

  /** Number of pieces of {@link PIECE_SIZE}, the last one shorter. */
  get pieces(): number {
    return pieceCount(this.size)
  }

  /**
   * Fills the whole of `target` from `offset` on. May be called concurrently.
   *
   * @throws OcimountError `CACHE_CORRUPT` when bytes are not what was written or not there,
   *   `STORAGE_FAILED` when the disk says no, `INTERNAL` for a range outside the device.
   */
  async read(target: Buffer, offset: number): Promise<void> {
    this.#checkRange(target.length, offset)
    let done = 0
    while (done < target.length) {
      const piece = Math.floor((offset + done) / PIECE_SIZE)
      const inPiece = offset + done - piece * PIECE_SIZE
      if (this.#isChecked(piece)) {
        // As far as checked pieces go, in one read.
        let end = (piece + 1) * PIECE_SIZE
        while (end < offset + target.length && this.#isChecked(end / PIECE_SIZE)) end += PIECE_SIZE
        const length = Math.min(target.length - done, end - offset - done)
        const part = target.subarray(done, done + length)
        if (await this.#readChecked(part, offset + done)) done += length
      } else {
        const buffer = this.#spare.pop() ?? Buffer.allocUnsafeSlow(PIECE_SIZE)
        try {
          const bytes = await this.readPiece(piece, buffer)
          done += bytes.copy(target, done, inPiece)
        } finally {
          if (this.#spare.length < MAX_SPARE_BUFFERS) this.#spare.push(buffer)
        }
      }
    }
  }

  /**
   * Reads a whole piece into `buffer` and checks its digest; gives the part of the buffer that it fills.
   *
   * @throws OcimountError as {@link DataFile.read}; the entry is dropped when the digest is wrong.
   */
  async readPiece(piece: number, buffer: Buffer): Promise<Buffer> {
    if (!hasPiece(this.#map.present, piece))
      throw corruptError(this.#path, `piece ${piece} is absent`)
    const start = piece * PIECE_SIZE
    const bytes = buffer.subarray(0, Math.min(PIECE_SIZE, this.size - start))
    const seen = this.#seen
    const isWhole = await this.#readFully(bytes, start)
    const digest = createHash('sha256').update(bytes).digest()
    const expected = piece * PIECE_DIGEST_SIZE
    if (
      !isWhole ||
      this.#digests.compare(digest, 0, digest.length, expected, expected + PIECE_DIGEST_SIZE) !== 0
    ) {
      throw await this.#drop(`piece ${piece} ${isWhole ? 'has another SHA-256' : 'is cut off'}`)
    }
    // Not when another read has found a change meanwhile: what was read before it proves nothing after it.
    if (seen === this.#seen) Atomics.store(this.#states, piece, PIECE_CHECKED)
    return bytes
  }

  /** Native threads read the states, and lower one to unchecked where the file turns out to be cut. */
  native(): NativeDevice {
    return { kind: 'pieces', size: this.size, fd: this.#handle.fd, state: this.#states }
  }

  /**
   * Checks pieces that were not checked yet.
   *
   * @throws OcimountError as {@link DataFile.read}
   */
  async ensure(piece: number, count: number): Promise<void> {
    const buffer = this.#spare.pop() ?? Buffer.allocUnsafeSlow(PIECE_SIZE)
    try {
      for (let one = piece; one < piece + count; one++) {
        if (!this.#isChecked(one)) await this.readPiece(one, buffer)
      }
    } finally {
      if (this.#spare.length < MAX_SPARE_BUFFERS) this.#spare.push(buffer)
    }
  }

  /** Waits for reads under way and closes the file. */
  async close(): Promise<void> {
    if (this.#isClosed) return
    this.#isClosed = true
    await this.#handle.close()
  }

  #uncheck(): void {
    for (let piece = 0; piece < this.#states.length; piece++) {
      const state = hasPiece(this.#map.present, piece) ? PIECE_UNCHECKED : PIECE_ABSENT
      Atomics.store(this.#states, piece, state)
    }
  }

  #isChecked(piece: number): boolean {
    return Atomics.load(this.#states, piece) === PIECE_CHECKED
  }

  /** Reads bytes of checked pieces; false when the file changed, so that they must be checked anew. */
  async #readChecked(target: Buffer, offset: number): Promise<boolean> {
    const seen = this.#seen
    const isWhole = await this.#readFully(target, offset)
    if (this.#isClosed) throw closedError()
    const now = fstatSync(this.#handle.fd, { bigint: true })
    if (seen === this.#seen && !(isWhole && isSameState(now, seen))) {
      // Removing the file or changing its mode does this as well, so it is no error in itself.
      this.#seen = now
      this.#uncheck()
    }
    return isWhole && seen === this.#seen
  }

  async #readFully(target: Buffer, offset: number): Promise<boolean> {
    try {
      let done = 0
      while (done < target.length) {
        const length = target.length - done
        const { bytesRead } = await this.#handle.read(target, done, length, offset + done)
        if (bytesRead === 0) return false
        done += bytesRead
      }
      return true
    } catch (error) {
      if (this.#isClosed) throw closedError()
      throw storageError(error, 'read', this.#path)
    }
  }

  #checkRange(length: number, offset: number): void {
    if (this.#isClosed) throw closedError()
    if (!Number.isSafeInteger(offset) || offset < 0 || offset + length > this.size) {
      const range = `${length} bytes at device offset ${offset}`
      throw new OcimountError('INTERNAL', `Cannot read ${range}: the device ends at ${this.size}`)
    }
  }

  /** Makes the next open find nothing and gives the error for this read. */
  async #drop(why: string): Promise<OcimountError> {
    const error = corruptError(this.#path, why)
    if (this.#isDropping) {
      // Once is enough: what is there after that was made by somebody else.
      this.#isDropping = false
      log.warn({ path: this.#path, why }, 'dropped a corrupt layer from the cache')
      const now = await lstatIfPresent(this.#path)
      // Another process may have dropped it and made it again by now.
      if (now?.ino === this.#seen.ino && now.dev === this.#seen.dev) await dropData(this.#directory)
    }
    return error
  }
}

/** Removes a layer's data, the file that makes it count first. The table of contents stays. */
export async function dropData(directory: string): Promise<void> {
  for (const name of [DATA_MAP_NAME, DIGESTS_NAME, DATA_NAME]) {
    const path = join(directory, name)
    try {
      await rm(path, { force: true, recursive: true })
    } catch (error) {
      // A read-only cache keeps its corrupt entry; every reader finds it corrupt for itself.
      log.warn({ path, why: storageError(error, 'remove', path).message }, 'could not drop a file')
    }
  }
}

async function openData(path: string): Promise<FileHandle> {
  try {
    return await open(path, constants.O_RDONLY | constants.O_NOFOLLOW | constants.O_NONBLOCK)
  } catch (error) {
    if (isMissing(error)) throw corruptError(path, 'it is missing')
    if (systemErrorCode(error) === 'ELOOP') throw corruptError(path, 'it is a symbolic link')
    throw storageError(error, 'open', path)
  }
}

function isSameState(a: BigIntStats, b: BigIntStats): boolean {
  return a.size === b.size && a.mtimeNs === b.mtimeNs && a.ctimeNs === b.ctimeNs
}

function closedError(): OcimountError {
  return new OcimountError('INTERNAL', 'Cannot read a data file: it is closed')
}
