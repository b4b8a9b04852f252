// What the cache knows of a layer: its toc, its data, and which stretches of local files were verified to be it.

import { join } from 'node:path'

import type { Cache } from '../cache/cache.js'
import { DATA_MAP_NAME } from '../cache/piece-map.js'
import { lstatIfPresent } from '../cache/sealed-file.js'
import { isOcimountError } from '../errors.js'
import { log } from '../logger.js'
import type { LayerBlob } from './layer-blob.js'
import { decodeToc } from './toc-file.js'
import type { Toc } from './toc.js'

/** Tells whether the very bytes of this blob were verified to be the plain layer that they should be. */
export async function isVerifiedRegion(blob: LayerBlob, cache: Cache): Promise<boolean> {
  const { region, diffId } = blob
  const record = await cache.getArchiveRecord(region.identity)
  return (
    record?.regions.some(
      ({ offset, length, diffId: verified }) =>
        offset === region.offset && length === region.length && verified === diffId,
    ) === true
  )
}

/** Tells whether the cache has the layer's uncompressed bytes, without reading them. */
export async function hasData(layerId: string, cache: Cache): Promise<boolean> {
  return (await lstatIfPresent(join(cache.layerPath(layerId), DATA_MAP_NAME))) !== undefined
}

/**
 * Reads the toc of a layer. One that cannot be decoded, being of another version perhaps, counts as missing.
 *
 * @throws OcimountError `STORAGE_FAILED`
 */
export async function readToc(layerId: string, cache: Cache): Promise<Toc | undefined> {
  const path = cache.tocPath(layerId)
  const bytes = await cache.readSealed(path)
  if (bytes === undefined) return undefined
  try {
    return decodeToc(bytes)
  } catch (error) {
    if (!isOcimountError(error, 'CACHE_CORRUPT')) throw error
    log.info({ path, why: error.message }, 'ignored a toc that cannot be used')
    return undefined
  }
}

/**
 * Runs a step that only makes later mounts faster. A full or unwritable disk is logged, and is no reason to fail.
 */
export async function storeIfPossible(what: string, store: () => Promise<void>): Promise<void> {
  try {
    await store()
  } catch (error) {
    if (!isOcimountError(error, 'STORAGE_FULL', 'STORAGE_FAILED', 'CACHE_LOCKED')) throw error
    log.warn({ why: error.message }, `could not store ${what}`)
  }
}
