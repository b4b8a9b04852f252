// Archives that could not be read in place: compressed as a whole, or from standard input. `decoded/<key>` is the
// plain archive, `<key>.sum` its size and SHA-256 as sealed JSON; without the latter the former does not count.
// A mount trusts neither: the image inside is checked against its own digests, as in any local archive.

import { lstat, rename, rm } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import { log } from '../logger.js'
import { isOcimountError } from '../errors.js'
import { syncDirectory, syncTree, withParent, writeNewFile, placeNewFile } from './durable.js'
import { lstatIfPresent, readSealedFile, seal } from './sealed-file.js'
import type { Staging } from './staging.js'
import { corruptError, storageError } from './storage-error.js'

export interface DecodedSum {
  readonly size: number
  /** 64 hex digits. */
  readonly sha256: string
}

/** Gives the path of the file beside a decoded archive. */
export function sumPath(path: string): string {
  return `${path}.sum`
}

/**
 * Moves a finished file of a staging directory to `path` and says what it holds; an archive that is there is kept.
 *
 * @throws OcimountError `STORAGE_FULL`, `STORAGE_FAILED`
 */
export async function publishDecoded(
  staging: Staging,
  from: string,
  path: string,
  sha256: string,
): Promise<void> {
  const source = join(staging.path, from)
  await syncTree(source)
  try {
    if ((await lstatIfPresent(sumPath(path))) !== undefined) return
    const { size } = await lstat(source)
    const payload = Buffer.from(JSON.stringify({ size, sha256 } satisfies DecodedSum))
    const sum = join(staging.path, 'sum')
    await writeNewFile(sum, [payload, seal([payload])])
    // Over what a crash left without its sum.
    await withParent(path, () => rename(source, path))
    await syncDirectory(dirname(path))
    await placeNewFile(sum, sumPath(path))
  } catch (error) {
    throw storageError(error, 'write', path)
  }
}

/** Tells whether a decoded archive is there, whole as far as its size tells; drops it when it is not. */
export async function hasDecoded(path: string): Promise<boolean> {
  try {
    return (await readSum(path)) !== undefined
  } catch (error) {
    if (!isOcimountError(error, 'CACHE_CORRUPT')) throw error
    log.warn({ path, why: error.message }, 'dropped a corrupt archive from the cache')
    await dropDecoded(path)
    return false
  }
}

/**
 * Reads what a decoded archive must hold; undefined when there is none.
 *
 * @throws OcimountError `CACHE_CORRUPT` when the sum is unreadable or the archive has another size
 */
export async function readSum(path: string): Promise<DecodedSum | undefined> {
  const payload = await readSealedFile(sumPath(path))
  if (payload === undefined) return undefined
  const sum = decodeSum(payload)
  const stats = await lstatIfPresent(path)
  if (sum === undefined || stats?.isFile() !== true || stats.size !== BigInt(sum.size)) {
    throw corruptError(path, 'it is not as long as it was')
  }
  return sum
}

/** Removes a decoded archive, the file that makes it count first. */
export async function dropDecoded(path: string): Promise<void> {
  await rm(sumPath(path), { force: true })
  await rm(path, { force: true })
}

function decodeSum(payload: Buffer): DecodedSum | undefined {
  const value: unknown = JSON.parse(payload.toString('utf8'))
  if (typeof value !== 'object' || value === null) return undefined
  if (!('size' in value && 'sha256' in value)) return undefined
  const { size, sha256 } = value
  if (typeof size !== 'number' || typeof sha256 !== 'string') return undefined
  return Number.isSafeInteger(size) ? { size, sha256 } : undefined
}
