// What of the cache a mounted tree lives on: kept from being pruned, and noted as used.

import type { Cache } from '../cache/cache.js'
import { isOcimountError, messageOf } from '../errors.js'
import type { LayerBlob } from '../layer/layer-blob.js'
import { usedPaths } from '../layer/layer-store.js'
import { log } from '../logger.js'

/**
 * Keeps entries from being pruned until the returned function is called. A lease is a file too; on a full disk what is used stays
 * unprotected, which only a prune at that moment would notice.
 */
export async function pinIfPossible(
  cache: Cache,
  paths: readonly string[],
): Promise<() => Promise<void>> {
  try {
    const pin = await cache.pin(paths)
    return () => pin.release()
  } catch (error) {
    if (!isOcimountError(error, 'STORAGE_FULL', 'STORAGE_FAILED')) throw error
    log.warn({ cause: messageOf(error) }, 'What this mount uses is not kept from being pruned')
    return () => Promise.resolve()
  }
}

/** What of the cache a mount of these layers reads, decoded archives included. */
export async function usedPathsOf(layers: readonly LayerBlob[], cache: Cache): Promise<string[]> {
  const paths = await Promise.all(layers.map((layer) => usedPaths(layer, cache)))
  const archives = layers.map(({ region }) => region.path)
  return [...paths.flat(), ...archives.filter((archive) => archive.startsWith(`${cache.root}/`))]
}

/** Notes that a tree and what its layers use were used now; never rejects. */
export async function touchUsed(
  cache: Cache,
  path: string,
  layers: readonly LayerBlob[],
): Promise<void> {
  try {
    await cache.touch([path, ...(await usedPathsOf(layers, cache))])
  } catch (error) {
    log.debug({ cause: messageOf(error) }, 'could not note what is used')
  }
}
