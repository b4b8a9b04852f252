// Putting files in place so that a kill or power cut leaves either nothing or all of it: bytes are durable
// before their name is, and a name appears by rename or link alone.

import { constants } from 'node:fs'
import { link, mkdir, open, readdir, rename, rm, type FileHandle } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import { isExisting, isMissing, storageError } from './storage-error.js'

/** Makes the names in a directory durable. */
export async function syncDirectory(path: string): Promise<void> {
  try {
    const handle = await open(path, constants.O_RDONLY | constants.O_DIRECTORY)
    try {
      await handle.sync()
    } finally {
      await handle.close()
    }
  } catch (error) {
    throw storageError(error, 'write', path)
  }
}

/** Makes a file, or every file of a directory and the directory, durable. Links inside are refused. */
export async function syncTree(path: string): Promise<void> {
  try {
    const handle = await open(path, constants.O_RDONLY | constants.O_NOFOLLOW)
    try {
      if ((await handle.stat()).isDirectory()) {
        for (const name of await readdir(path)) await syncTree(join(path, name))
      }
      await handle.sync()
    } finally {
      await handle.close()
    }
  } catch (error) {
    throw storageError(error, 'write', path)
  }
}

/** Writes a new file of the given parts and makes its bytes, not yet its name, durable. */
export async function writeNewFile(path: string, parts: readonly Uint8Array[]): Promise<void> {
  try {
    const handle = await open(path, 'wx', FILE_MODE)
    try {
      await writeParts(handle, parts, 0)
      await handle.sync()
    } finally {
      await handle.close()
    }
  } catch (error) {
    throw storageError(error, 'write', path)
  }
}

/** Writes all of the parts at `position`, however little a single call takes. */
export async function writeParts(
  handle: FileHandle,
  parts: readonly Uint8Array[],
  position: number,
): Promise<void> {
  let rest = parts.filter((part) => part.length > 0)
  while (rest.length > 0) {
    const batch = rest.slice(0, MAX_VECTORS)
    const { bytesWritten } = await handle.writev(batch, position)
    position += bytesWritten
    let skip = bytesWritten
    let index = 0
    for (let part = rest[0]; part !== undefined && skip >= part.length; part = rest[index]) {
      skip -= part.length
      index++
    }
    rest = rest.slice(index)
    const first = rest[0]
    if (skip > 0 && first !== undefined) rest[0] = first.subarray(skip)
  }
}

/** Renames over whatever is at `to`, making its directory when it is missing, and makes the name durable. */
export async function replaceFile(from: string, to: string): Promise<void> {
  try {
    await withParent(to, () => rename(from, to))
  } catch (error) {
    throw storageError(error, 'write', to)
  }
  await syncDirectory(dirname(to))
}

/**
 * Gives a file its name unless something has that name already; tells whether it was free.
 *
 * Links and then removes, since a rename would silently replace what another process has put there.
 */
export async function placeNewFile(from: string, to: string): Promise<boolean> {
  let isPlaced = true
  try {
    await withParent(to, () => link(from, to))
  } catch (error) {
    if (!isExisting(error)) throw storageError(error, 'write', to)
    isPlaced = false
  }
  await rm(from, { force: true })
  if (isPlaced) await syncDirectory(dirname(to))
  return isPlaced
}

/** Runs an operation that needs the parent of `path`, making that when it is missing. */
export async function withParent(path: string, operation: () => Promise<void>): Promise<void> {
  try {
    await operation()
  } catch (error) {
    if (!isMissing(error)) throw error
    await makeDirectory(dirname(path))
    await operation()
  }
}

/** Makes a directory of the cache, and those on the way to it, with nobody else's access. */
export async function makeDirectory(path: string): Promise<void> {
  try {
    await mkdir(path, { recursive: true, mode: DIRECTORY_MODE })
  } catch (error) {
    throw storageError(error, 'make', path)
  }
}

export const FILE_MODE = 0o600
export const DIRECTORY_MODE = 0o700
// IOV_MAX of Linux.
const MAX_VECTORS = 1024
