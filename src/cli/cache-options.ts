// What the options of the command line say about the cache.

import type { CacheOptions } from '../cache/cache.js'
import { parseCacheSize } from '../cache/cache-size.js'
import type { CommandArguments } from './commands.js'

/**
 * Gives what {@link CacheOptions} need.
 *
 * @throws OcimountError `USAGE`
 */
export function cacheOptions(args: Pick<CommandArguments, 'cacheDir' | 'cacheSize'>): CacheOptions {
  const { cacheDir: dir, cacheSize } = args
  return {
    dir,
    maxDataBytes: cacheSize === undefined ? undefined : parseCacheSize(cacheSize, '--cache-size'),
  }
}
