// A file that is on the filesystem of the cache and has no name: nobody can cut or replace it, and it vanishes with its last
// user, be that the kernel, or with the machine.

import { open, rm, type FileHandle } from 'node:fs/promises'
import { FILE_MODE, withParent, writeParts } from './durable.js'
import { temporaryPath } from './staging.js'
import { storageError } from './storage-error.js'

/**
 * Writes a file without a name; it is open for reading and writing, and has nothing before `position`.
 *
 * Its bytes are on the disk, or this fails: who reads them later must not find that the disk was full.
 *
 * @throws OcimountError `STORAGE_FULL`, `STORAGE_FAILED`
 */
export async function writeUnnamedFile(
  tmpDirectory: string,
  parts: readonly Uint8Array[],
  position = 0,
): Promise<FileHandle> {
  // A kill between the two calls leaves a name of ours in the tmp directory, which is swept.
  const path = temporaryPath(tmpDirectory)
  let handle: FileHandle | undefined
  try {
    await withParent(path, async () => {
      handle = await open(path, 'wx+', FILE_MODE)
    })
    await rm(path)
    if (handle === undefined) throw new Error('it was not opened')
    await writeParts(handle, parts, position)
    await handle.datasync()
    return handle
  } catch (error) {
    await handle?.close()
    await rm(path, { force: true })
    throw storageError(error, 'write', path)
  }
}
