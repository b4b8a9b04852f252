// A sealed file: any payload, then a trailer of 48 bytes, so that an EROFS image stays at offset 0.
//
//   0  8  length of the payload, little-endian
//   8  8  "OCIMSEAL"
//  16 32  SHA-256 over the payload and the 16 bytes before
//
// It is read whole into memory of our own and checked there; what happens to the file later cannot hurt.

import { createHash, timingSafeEqual } from 'node:crypto'
import { constants, type BigIntStats } from 'node:fs'
import { lstat, open, unlink } from 'node:fs/promises'
import { isOcimountError, systemErrorCode } from '../errors.js'
import { log } from '../logger.js'
import { corruptError, isMissing, storageError } from './storage-error.js'

export const SEAL_SIZE = 48
const MAGIC = Buffer.from('OCIMSEAL', 'latin1')
const HASHED_TRAILER_SIZE = 16
// One read(2) gives at most 2 GiB - 4096; no index of an image comes near.
const MAX_SEALED_SIZE = 0x7fff_f000

/** Gives the trailer that follows the given payload. */
export function seal(parts: readonly Uint8Array[]): Buffer {
  const trailer = Buffer.alloc(SEAL_SIZE)
  const hash = createHash('sha256')
  let length = 0
  for (const part of parts) {
    hash.update(part)
    length += part.length
  }
  trailer.writeBigUInt64LE(BigInt(length), 0)
  MAGIC.copy(trailer, 8)
  hash.update(trailer.subarray(0, HASHED_TRAILER_SIZE)).digest().copy(trailer, HASHED_TRAILER_SIZE)
  return trailer
}

/**
 * Gives the payload of a sealed file's bytes, as a view of them.
 *
 * @throws OcimountError `CACHE_CORRUPT` when a single bit is not as it was written; `what` names the file.
 */
export function unseal(bytes: Buffer, what: string): Buffer {
  const length = bytes.length - SEAL_SIZE
  if (length < 0) throw corruptError(what, 'it is too short to be sealed')
  const trailer = bytes.subarray(length)
  if (!trailer.subarray(8, HASHED_TRAILER_SIZE).equals(MAGIC)) {
    throw corruptError(what, 'its seal is missing')
  }
  if (trailer.readBigUInt64LE(0) !== BigInt(length)) throw corruptError(what, 'its length is wrong')
  const hash = createHash('sha256')
    .update(bytes.subarray(0, length + HASHED_TRAILER_SIZE))
    .digest()
  if (!timingSafeEqual(hash, trailer.subarray(HASHED_TRAILER_SIZE))) {
    throw corruptError(what, 'its SHA-256 does not match')
  }
  return bytes.subarray(0, length)
}

/**
 * Reads and checks a sealed file; a missing one is undefined.
 *
 * @throws OcimountError `CACHE_CORRUPT`, `STORAGE_FAILED`.
 */
export async function readSealedFile(path: string): Promise<Buffer | undefined> {
  let bytes: Buffer
  try {
    // A name that was replaced by a FIFO or a link must neither block nor lead out of the cache.
    const flags = constants.O_RDONLY | constants.O_NOFOLLOW | constants.O_NONBLOCK
    const handle = await open(path, flags)
    try {
      const stats = await handle.stat()
      if (!stats.isFile()) throw corruptError(path, 'it is not a regular file')
      if (stats.size > MAX_SEALED_SIZE) throw corruptError(path, 'it is too large')
      bytes = Buffer.allocUnsafeSlow(stats.size)
      let done = 0
      while (done < bytes.length) {
        const { bytesRead } = await handle.read(bytes, done, bytes.length - done, done)
        if (bytesRead === 0) throw corruptError(path, 'it was cut while it was read')
        done += bytesRead
      }
    } finally {
      await handle.close()
    }
  } catch (error) {
    if (isMissing(error)) return undefined
    if (systemErrorCode(error) === 'ELOOP') throw corruptError(path, 'it is a symbolic link')
    throw storageError(error, 'read', path)
  }
  return unseal(bytes, path)
}

/**
 * The same as {@link readSealedFile}, but a corrupt file is removed with a warning and counts as missing.
 *
 * What it held can be made again, and the next reader must not stumble over it.
 */
export async function loadSealedFile(path: string): Promise<Buffer | undefined> {
  const before = await lstatIfPresent(path)
  try {
    return await readSealedFile(path)
  } catch (error) {
    if (!isOcimountError(error, 'CACHE_CORRUPT')) throw error
    log.warn({ path, why: error.message }, 'removed a corrupt file from the cache')
    await removeIfSame(path, before)
    return undefined
  }
}

/** Removes the file at `path` if it is still the one that `seen` describes. */
export async function removeIfSame(path: string, seen: BigIntStats | undefined): Promise<void> {
  const now = await lstatIfPresent(path)
  if (now === undefined || now.ino !== seen?.ino || now.dev !== seen.dev) return
  try {
    await unlink(path)
  } catch (error) {
    if (!isMissing(error)) throw storageError(error, 'remove', path)
  }
}

/** Gives the status of a file without following it, or undefined where there is none. */
export async function lstatIfPresent(path: string): Promise<BigIntStats | undefined> {
  try {
    return await lstat(path, { bigint: true })
  } catch (error) {
    if (isMissing(error)) return undefined
    throw storageError(error, 'look at', path)
  }
}
