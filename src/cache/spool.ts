// Streams bytes of unknown or promised length into a new file.

import { open } from 'node:fs/promises'
import { dirname } from 'node:path'
import { escapeText } from '../byte-string.js'
import { FILE_MODE, writeParts } from './durable.js'
import { FreeSpaceGuard } from './free-space.js'
import { interruptedError, storageError } from './storage-error.js'

/** Bytes from wherever they come. A chunk must not change before the next one is asked for. */
export type ByteSource = AsyncIterable<Uint8Array> | Iterable<Uint8Array>

/**
 * Writes all that a source gives to a new file and gives its length; not durable yet.
 *
 * `onChunk` sees each chunk and the length up to its end before it is written, and stops everything by throwing.
 *
 * @throws OcimountError `STORAGE_FULL`, `STORAGE_FAILED`, `INTERRUPTED`; and what the source or `onChunk` throws
 */
export async function spool(
  source: ByteSource,
  path: string,
  options: {
    onChunk: (chunk: Uint8Array, size: number) => void
    signal?: AbortSignal | undefined
  },
): Promise<number> {
  const { onChunk, signal } = options
  const space = new FreeSpaceGuard(dirname(path), `Cannot write ${escapeText(path)}`)
  let size = 0
  try {
    const handle = await open(path, 'wx', FILE_MODE)
    try {
      for await (const chunk of source) {
        if (signal?.aborted === true) throw interruptedError('write', path, signal.reason)
        onChunk(chunk, size + chunk.length)
        await space.check(size)
        try {
          await writeParts(handle, [chunk], size)
        } catch (error) {
          throw storageError(error, 'write', path)
        }
        size += chunk.length
      }
    } finally {
      await handle.close()
    }
  } catch (error) {
    // What the source threw stays what it is; only our own open and close are left to name.
    if (!(error instanceof Error) || !('path' in error) || error.path !== path) throw error
    throw storageError(error, 'write', path)
  }
  return size
}
