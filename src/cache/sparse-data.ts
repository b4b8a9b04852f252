// Makes the data of a layer of which nothing is there yet: a hole of the right length, what each piece must hash to where that is
// known, and a map that claims none.

import { open } from 'node:fs/promises'
import { join } from 'node:path'
import { FILE_MODE, syncDirectory, writeNewFile } from './durable.js'
import {
  DATA_MAP_NAME,
  DATA_NAME,
  DIGESTS_NAME,
  encodeDigests,
  encodeEmptyMap,
  PIECE_DIGEST_SIZE,
  pieceCount,
} from './piece-map.js'
import { seal } from './sealed-file.js'
import { storageError } from './storage-error.js'

/**
 * Writes the three files into a directory, which is usually a staging directory.
 *
 * @throws OcimountError `STORAGE_FULL`, `STORAGE_FAILED`
 */
export async function writeSparseData(
  directory: string,
  {
    deviceSize,
    digests = Buffer.alloc(pieceCount(deviceSize) * PIECE_DIGEST_SIZE),
  }: { readonly deviceSize: number; readonly digests?: Buffer },
): Promise<void> {
  const path = join(directory, DATA_NAME)
  try {
    const handle = await open(path, 'wx', FILE_MODE)
    try {
      await handle.truncate(deviceSize)
    } finally {
      await handle.close()
    }
  } catch (error) {
    throw storageError(error, 'write', path)
  }
  const files = [
    { name: DIGESTS_NAME, parts: encodeDigests(deviceSize, [digests]) },
    { name: DATA_MAP_NAME, parts: encodeEmptyMap(deviceSize) },
  ]
  for (const { name, parts } of files) {
    await writeNewFile(join(directory, name), [...parts, seal(parts)])
  }
  await syncDirectory(directory)
}
