// Opens the file that a blob lies in, and only in the state in which it was found.

import { constants } from 'node:fs'
import { open, type FileHandle } from 'node:fs/promises'

import { escapeText } from '../byte-string.js'
import { fileIdentity, isSameIdentity } from '../cache/file-identity.js'
import { messageOf, OcimountError, systemErrorCode } from '../errors.js'
import type { FileRegion } from './layer-blob.js'

/**
 * Opens the file of a region for reading.
 *
 * @throws OcimountError `SOURCE_CHANGED` when the file is gone or another one than was found,
 *   `STORAGE_FAILED` when it cannot be opened
 */
export async function openRegion(region: FileRegion): Promise<FileHandle> {
  let handle: FileHandle
  try {
    // O_NONBLOCK: whatever stands at the path by now, opening it must not wait.
    handle = await open(region.path, constants.O_RDONLY | constants.O_NONBLOCK)
  } catch (error) {
    if (systemErrorCode(error) === 'ENOENT') throw sourceChanged(region.path)
    throw new OcimountError(
      'STORAGE_FAILED',
      `Cannot open ${escapeText(region.path)}: ${messageOf(error)}`,
      { cause: error },
    )
  }
  try {
    await checkRegion(handle, region)
  } catch (error) {
    await handle.close()
    throw error
  }
  return handle
}

/**
 * Checks that an open file is still what it was when the region was found in it.
 *
 * @throws OcimountError `SOURCE_CHANGED`
 */
export async function checkRegion(handle: FileHandle, region: FileRegion): Promise<void> {
  if (region.isArriving === true) return
  const identity = fileIdentity(await handle.stat({ bigint: true }))
  if (!isSameIdentity(identity, region.identity)) throw sourceChanged(region.path)
  if (region.offset + region.length > identity.size) throw sourceChanged(region.path)
}

/** Makes the error for a file that is no longer what it was. */
export function sourceChanged(path: string): OcimountError {
  return new OcimountError(
    'SOURCE_CHANGED',
    `Cannot read ${escapeText(path)}: the file changed since the image was opened`,
    { details: { path } },
  )
}

/**
 * Yields the bytes of a region in order, reading one chunk ahead; every chunk is a buffer of its own. Before it reads up to
 * an offset in the region it waits for `reach`.
 *
 * @throws OcimountError `SOURCE_CHANGED` when the file ends early, `STORAGE_FAILED`
 */
export async function* readRegion(
  handle: FileHandle,
  { path, offset, length }: Pick<FileRegion, 'path' | 'offset' | 'length'>,
  chunkSize: number,
  reach?: (size: number) => Promise<void>,
): AsyncGenerator<Buffer, void, undefined> {
  const readAt = async (from: number): Promise<Buffer> => {
    const count = Math.min(chunkSize, length - from)
    await reach?.(from + count)
    return readChunk(handle, path, offset + from, count)
  }
  let ahead = readAt(0)
  let position = 0
  while (position < length) {
    const chunk = await ahead
    position += chunk.length
    if (position < length) {
      ahead = readAt(position)
      // Awaited in the next round, or never when the reader stops; its failure must not be an unhandled one.
      ahead.catch(ignore)
    }
    yield chunk
  }
}

async function readChunk(
  handle: FileHandle,
  path: string,
  offset: number,
  length: number,
): Promise<Buffer> {
  const chunk = Buffer.allocUnsafeSlow(length)
  let done = 0
  while (done < length) {
    const { bytesRead } = await read(handle, path, chunk, done, offset + done)
    if (bytesRead === 0) throw sourceChanged(path)
    done += bytesRead
  }
  return chunk
}

async function read(
  handle: FileHandle,
  path: string,
  chunk: Buffer,
  done: number,
  position: number,
): Promise<{ bytesRead: number }> {
  try {
    return await handle.read(chunk, done, chunk.length - done, position)
  } catch (error) {
    throw readFailed(path, error)
  }
}

/** Makes the error for a read that the disk refused. */
export function readFailed(path: string, cause: unknown): OcimountError {
  const message = `Cannot read ${escapeText(path)}: ${messageOf(cause)}`
  return new OcimountError('STORAGE_FAILED', message, { cause })
}

function ignore(): void {
  // The reader that would have awaited it has stopped.
}
