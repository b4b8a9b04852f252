// The three files of a layer's data (piece-map.ts), opened together. Who cannot make what is missing holds a shared OFD lock
// on all of `data` where the addon is there, so that nobody punches holes into what the map says is present; the map is
// read after the lock was taken. Who can make it locks piece by piece (piece-locks.ts).

import { createHash } from 'node:crypto'
import { constants } from 'node:fs'
import { open, rm, type FileHandle } from 'node:fs/promises'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { escapeText } from '../byte-string.js'
import { messageOf, OcimountError, systemErrorCode } from '../errors.js'
import { log } from '../logger.js'
import { loadNative } from '../native.js'
import {
  DATA_MAP_NAME,
  DATA_NAME,
  decodeDigests,
  decodeMap,
  DIGESTS_NAME,
  PIECE_DIGEST_SIZE,
  pieceRange,
  type PieceMap,
} from './piece-map.js'
import { readSealedFile } from './sealed-file.js'
import { corruptError, isMissing, storageError } from './storage-error.js'

/** The data of one layer as it was opened. */
export interface DataParts {
  /** Of `data`. */
  readonly path: string
  readonly handle: FileHandle
  readonly isWritable: boolean
  readonly map: PieceMap
  /** SHA-256 of each piece. */
  readonly digests: Buffer
}

export interface OpenPartsOptions {
  /** Opens for filling where the cache can be written; a length that is wrong is then put right instead of refused. */
  readonly fills: boolean
}

/**
 * Opens the data in a layer's directory, or gives undefined where there is none. The caller closes the handle.
 *
 * @throws OcimountError `CACHE_CORRUPT` when the parts do not fit together, `STORAGE_FAILED`, `CACHE_LOCKED`
 */
export async function openDataParts(
  directory: string,
  { fills }: OpenPartsOptions,
): Promise<DataParts | undefined> {
  const path = join(directory, DATA_NAME)
  const mapPath = join(directory, DATA_MAP_NAME)
  const digestsPath = join(directory, DIGESTS_NAME)
  const opened = await openData(path, fills)
  try {
    if (opened !== undefined && !fills) await lockShared(opened.handle, path)
    const mapBytes = await readSealedFile(mapPath)
    if (mapBytes === undefined) {
      await opened?.handle.close()
      return undefined
    }
    if (opened === undefined) throw corruptError(path, 'it is missing')
    const map = decodeMap(mapBytes, mapPath)
    const digestBytes = await readSealedFile(digestsPath)
    if (digestBytes === undefined) throw corruptError(digestsPath, 'it is missing')
    const digests = decodeDigests(digestBytes, map.deviceSize, digestsPath)
    const stats = await opened.handle.stat()
    if (!stats.isFile()) throw corruptError(path, 'it is not a regular file')
    if (stats.size !== map.deviceSize) {
      if (!fills || !opened.isWritable) throw corruptError(path, 'its length is wrong')
      // What the map says of the missing part is found wrong piece by piece, and made again.
      log.warn({ path }, 'a file of the cache has another length than it had')
      await opened.handle.truncate(map.deviceSize)
    }
    return { path, ...opened, map, digests }
  } catch (error) {
    await opened?.handle.close()
    throw storageError(error, 'open', path)
  }
}

/**
 * Reads a piece into `buffer` and compares its digest; `problem` says what is wrong with it.
 *
 * @throws OcimountError `STORAGE_FAILED`
 */
export async function readPiece(
  parts: Pick<DataParts, 'path' | 'handle' | 'map' | 'digests'>,
  piece: number,
  buffer: Buffer,
): Promise<{ readonly bytes: Buffer; readonly problem: string | undefined }> {
  const { start, length } = pieceRange(piece, parts.map.deviceSize)
  const bytes = buffer.subarray(0, length)
  if (!(await readFully(parts, bytes, start))) {
    return { bytes, problem: `piece ${piece} is cut off` }
  }
  const digest = createHash('sha256').update(bytes).digest()
  const isRight = digest.equals(digestsOf(parts.digests, piece, 1))
  return { bytes, problem: isRight ? undefined : `piece ${piece} has another SHA-256` }
}

/** Fills `target`; false when the file ends before. */
export async function readFully(
  { path, handle }: Pick<DataParts, 'path' | 'handle'>,
  target: Buffer,
  offset: number,
): Promise<boolean> {
  try {
    let done = 0
    while (done < target.length) {
      const length = target.length - done
      const { bytesRead } = await handle.read(target, done, length, offset + done)
      if (bytesRead === 0) return false
      done += bytesRead
    }
    return true
  } catch (error) {
    throw storageError(error, 'read', path)
  }
}

/** Gives the digests of some pieces, as a view. */
export function digestsOf(digests: Buffer, piece: number, count: number): Buffer {
  return digests.subarray(piece * PIECE_DIGEST_SIZE, (piece + count) * PIECE_DIGEST_SIZE)
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

async function openData(
  path: string,
  fills: boolean,
): Promise<{ handle: FileHandle; isWritable: boolean } | undefined> {
  const flags = constants.O_NOFOLLOW | constants.O_NONBLOCK
  for (const isWritable of fills ? [true, false] : [false]) {
    try {
      const access = isWritable ? constants.O_RDWR : constants.O_RDONLY
      return { handle: await open(path, flags | access), isWritable }
    } catch (error) {
      if (isMissing(error)) return undefined
      const code = systemErrorCode(error)
      if (code === 'ELOOP') throw corruptError(path, 'it is a symbolic link')
      if (isWritable && code === 'EISDIR') throw corruptError(path, 'it is not a regular file')
      if (isWritable && (code === 'EROFS' || code === 'EACCES')) continue
      throw storageError(error, 'open', path)
    }
  }
  return undefined
}

async function lockShared(handle: FileHandle, path: string): Promise<void> {
  const native = loadNative()
  if (native === undefined) return
  const deadline = performance.now() + LOCK_PATIENCE_MS
  try {
    // Refused only while another process punches holes, which takes it milliseconds.
    while (!native.lockFile(handle.fd, 'read', 0, 0)) {
      if (performance.now() > deadline) {
        const message = `Cannot lock ${escapeText(path)}: another process keeps making room in it`
        throw new OcimountError('CACHE_LOCKED', message, { details: { path } })
      }
      await sleep(LOCK_PAUSE_MS)
    }
  } catch (error) {
    if (error instanceof OcimountError) throw error
    // A filesystem without locks; nobody can punch holes there either.
    log.debug({ path, why: messageOf(error) }, 'could not lock a file')
  }
}

const LOCK_PAUSE_MS = 5
const LOCK_PATIENCE_MS = 10_000
