// What is done when the disk of the cache is full: a mount keeps its index and its tree in its own state directory, which is
// in memory as a rule, and little else; a command that looks into an image keeps them where temporary files go. gzip and
// plain layers are read from where they are; a zstd layer would have to be unpacked whole, so there the full disk is told.

import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { Cache } from '../cache/cache.js'
import { MIN_CACHE_SIZE } from '../cache/cache-size.js'
import { removeAtExit } from '../cache/exit-cleanup.js'
import { isOcimountError, OcimountError } from '../errors.js'
import { log } from '../logger.js'

/** A cache to work with, and what the user should know of it. */
export interface ChosenCache {
  readonly cache: Cache
  readonly warnings: readonly string[]
}

/**
 * Runs work with the cache, and once more with a spare one where the disk turns out to be full, in the directory that
 * `makeDirectory` then gives. Nothing of the first attempt may be left open when it fails.
 *
 * @throws OcimountError whatever the work throws
 */
export async function withSpareCache<T>(
  open: () => Promise<Cache>,
  makeDirectory: () => Promise<string>,
  work: (chosen: ChosenCache) => Promise<T>,
): Promise<T> {
  try {
    return await work({ cache: await open(), warnings: [] })
  } catch (error) {
    if (!isOcimountError(error, 'STORAGE_FULL')) throw error
    log.warn({ why: error.message }, 'the disk of the cache is full; going on without it')
    const cache = await Cache.open({
      dir: join(await makeDirectory(), 'cache'),
      maxDataBytes: MIN_CACHE_SIZE,
      takesWhole: false,
    })
    try {
      return await work({ cache, warnings: [`${error.message}; went on without the cache`] })
    } catch (cause) {
      // The first reason is the one that the user can do something about.
      if (isOcimountError(cause, 'STORAGE_FULL')) throw explain(error, cause)
      throw cause
    }
  }
}

/** A place that is made when it is asked for, and goes at the latest with the process. */
export function temporaryDirectory(): {
  readonly make: () => Promise<string>
  readonly remove: () => Promise<void>
} {
  let made: { readonly path: string; readonly forget: () => void } | undefined
  return {
    make: async () => {
      const path = made?.path ?? (await mkdtemp(join(tmpdir(), 'ocimount-')))
      made ??= { path, forget: removeAtExit(path) }
      return path
    },
    remove: async () => {
      if (made === undefined) return
      await rm(made.path, { recursive: true, force: true })
      made.forget()
    },
  }
}

function explain(first: OcimountError, cause: OcimountError): OcimountError {
  const { code, details } = first
  return new OcimountError(code, `${first.message}; ${cause.message}`, { cause, details })
}
