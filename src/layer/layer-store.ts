// What the cache knows of a layer: its toc, its data, the spans of its stored forms, and which stretches of local files were
// verified to be it.

import { join } from 'node:path'

import type { ArchiveRegion } from '../cache/archive-record.js'
import type { Cache } from '../cache/cache.js'
import { DATA_MAP_NAME, decodeMap, isWholeMap } from '../cache/piece-map.js'
import { lstatIfPresent } from '../cache/sealed-file.js'
import { isOcimountError } from '../errors.js'
import type { Digest } from '../image/digest.js'
import type { LazyIndex } from '../image/lazy-index.js'
import { log } from '../logger.js'
import type { LayerBlob } from './layer-blob.js'
import { LAZY_LAYOUT } from './lazy-layout.js'
import { decodeSpanTable, encodeSpanTable, type SpanTable } from './span-table.js'
import { decodeToc } from './toc-file.js'
import type { Toc } from './toc.js'

/** Tells whether the very bytes of this blob were verified to be the plain layer that they should be. */
export async function isVerifiedRegion(blob: LayerBlob, cache: Cache): Promise<boolean> {
  return (await findRegion(blob, 'plain', cache)) !== undefined
}

/** Gives the digest of the stored bytes, as the image says or as an earlier pass over these very bytes found. */
export async function storedDigest(blob: LayerBlob, cache: Cache): Promise<Digest | undefined> {
  return blob.digest ?? (await findRegion(blob, 'gzip', cache))?.digest
}

async function findRegion(
  { region, diffId }: LayerBlob,
  form: ArchiveRegion['form'],
  cache: Cache,
): Promise<ArchiveRegion | undefined> {
  const record = await cache.getArchiveRecord(region.identity)
  return record?.regions.find(
    (known) =>
      known.form === form &&
      known.offset === region.offset &&
      known.length === region.length &&
      known.diffId === diffId,
  )
}

/** Tells how much of the layer's uncompressed bytes the cache has, without reading them. */
export async function lookForData(
  layerId: string,
  cache: Cache,
): Promise<'whole' | 'sparse' | 'none'> {
  const path = join(cache.layerPath(layerId), DATA_MAP_NAME)
  const payload = await cache.readSealed(path)
  if (payload === undefined) return 'none'
  try {
    return isWholeMap(decodeMap(payload, path)) ? 'whole' : 'sparse'
  } catch (error) {
    if (!isOcimountError(error, 'CACHE_CORRUPT')) throw error
    return 'none'
  }
}

/** Tells whether the cache has an index of the blob, without reading it. */
export async function hasSpanTable(digest: Digest, cache: Cache): Promise<boolean> {
  return (await lstatIfPresent(cache.blobIndexPath(digest))) !== undefined
}

/**
 * Reads the index of a blob. One that cannot be decoded, or leads to another layer, counts as missing.
 *
 * @throws OcimountError `STORAGE_FAILED`
 */
export async function readSpanTable(
  { region, diffId }: LayerBlob,
  digest: Digest,
  cache: Cache,
): Promise<SpanTable | undefined> {
  const path = cache.blobIndexPath(digest)
  const payload = await cache.readSealed(path)
  if (payload === undefined) return undefined
  try {
    const table = decodeSpanTable(payload)
    return table.diffId === diffId && table.blobSize === region.length ? table : undefined
  } catch (error) {
    if (!isOcimountError(error, 'CACHE_CORRUPT')) throw error
    log.info({ path, why: error.message }, 'ignored an index that cannot be used')
    return undefined
  }
}

/** Stores the index of a blob and, where the image gives no digest, which stretch of the file it belongs to. */
export async function storeSpanTable(
  { region, digest, diffId }: LayerBlob,
  { blobDigest, table }: { readonly blobDigest: Digest; readonly table: SpanTable },
  cache: Cache,
): Promise<void> {
  await cache.writeSealed(cache.blobIndexPath(blobDigest), encodeSpanTable(table))
  if (digest !== undefined) return
  const { identity, offset, length } = region
  await cache.mergeArchiveRecord(identity, [
    { form: 'gzip', offset, length, digest: blobDigest, diffId },
  ])
}

/** Gives what of the cache a mount of this layer uses, as far as it is known. */
export async function usedPaths(blob: LayerBlob, cache: Cache): Promise<string[]> {
  const { diffId, lazy } = blob
  const digest = await storedDigest(blob, cache)
  const index = lazy !== undefined && 'index' in lazy.claim ? lazy.claim.index : undefined
  return [
    cache.layerPath(diffId),
    ...(digest === undefined ? [] : [cache.blobIndexPath(digest)]),
    ...(index === undefined ? [] : [cache.layerPath(lazyLayerId(index))]),
  ]
}

/**
 * Gives the id of a layer of which nothing is known but its table of contents. The version of the layout is a part of it: neither
 * pieces nor trees that another version made are ever taken for those of this one.
 */
export function lazyLayerId({ tocDigest }: LazyIndex): string {
  return `toc${LAZY_LAYOUT}:${tocDigest}`
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
