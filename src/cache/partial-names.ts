// The files of one blob on its way in: <root>/partial/<alg>/<hex>/<owner>-<16 hex digits>. Only its owner writes to such a file;
// whoever needs the blob next takes over the longest that has no living owner, by renaming it.

import { randomBytes } from 'node:crypto'
import { rename, rm, stat } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import { escapeText } from '../byte-string.js'
import { judgeOwner } from './process-owner.js'
import { isMissing, storageError } from './storage-error.js'
import { ownedPaths } from './sweep.js'

/** The owner in the name of a file that its last owner has let go of. */
const NOBODY = 'free'

/**
 * Tells how many bytes of a blob some process has so far; for those who wait for it.
 *
 * @throws OcimountError `STORAGE_FAILED`
 */
export async function partialSize(directory: string): Promise<number> {
  const sizes = await Promise.all(ownedPaths(directory).map(({ path }) => sizeOf(path)))
  return Math.max(0, ...sizes)
}

/**
 * Gives the longest file without a living owner another name, and removes the others; does nothing where there is none.
 *
 * @throws OcimountError `STORAGE_FAILED`
 */
export async function takeLongest(directory: string, path: string): Promise<void> {
  const free = ownedPaths(directory).filter(
    ({ owner }) => owner === NOBODY || judgeOwner(owner) === 'dead',
  )
  const sized = await Promise.all(
    free.map(async (file) => ({ path: file.path, size: await sizeOf(file.path) })),
  )
  const [longest, ...others] = sized.sort((a, b) => b.size - a.size)
  if (longest === undefined) return
  try {
    await rename(longest.path, path)
  } catch (error) {
    // Somebody else was faster.
    if (!isMissing(error)) throw storageError(error, 'rename', escapeText(longest.path))
  }
  for (const other of others) await rm(other.path, { force: true })
}

/** Lets go of a file, for whoever needs the blob next. One that cannot be renamed is left when its owner has ended. */
export async function leaveToNobody(path: string): Promise<void> {
  const name = `${NOBODY}-${randomBytes(8).toString('hex')}`
  await rename(path, join(dirname(path), name)).catch(() => undefined)
}

async function sizeOf(path: string): Promise<number> {
  try {
    return (await stat(path)).size
  } catch (error) {
    if (isMissing(error)) return 0
    throw storageError(error, 'look at', path)
  }
}
