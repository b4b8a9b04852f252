// What a mount does when the disk of the cache is full: it keeps its index and its tree in its own state directory, which is
// in memory as a rule, and little else. gzip and plain layers are read from where they are; a zstd layer would have to be
// unpacked whole, so there the full disk is told.

import { join } from 'node:path'
import { Cache } from '../cache/cache.js'
import { MIN_CACHE_SIZE } from '../cache/cache-size.js'
import { isOcimountError, OcimountError } from '../errors.js'
import { log } from '../logger.js'

/** A cache to work with, and what the user should know of it. */
export interface ChosenCache {
  readonly cache: Cache
  readonly warnings: readonly string[]
}

/**
 * Runs work with the cache, and once more with a spare one in `directory` where the disk turns out to be full. Nothing of the
 * first attempt may be left open when it fails.
 *
 * @throws OcimountError whatever the work throws
 */
export async function withSpareCache<T>(
  open: () => Promise<Cache>,
  directory: string,
  work: (chosen: ChosenCache) => Promise<T>,
): Promise<T> {
  try {
    return await work({ cache: await open(), warnings: [] })
  } catch (error) {
    if (!isOcimountError(error, 'STORAGE_FULL')) throw error
    log.warn({ why: error.message }, 'the disk of the cache is full; mounting without it')
    const cache = await Cache.open({
      dir: join(directory, 'cache'),
      maxDataBytes: MIN_CACHE_SIZE,
      takesWholeLayers: false,
    })
    try {
      return await work({ cache, warnings: [`${error.message}; mounted without the cache`] })
    } catch (cause) {
      // The first reason is the one that the user can do something about.
      if (isOcimountError(cause, 'STORAGE_FULL')) throw explain(error, cause)
      throw cause
    }
  }
}

function explain(first: OcimountError, cause: OcimountError): OcimountError {
  const { code, details } = first
  return new OcimountError(code, `${first.message}; ${cause.message}`, { cause, details })
}
