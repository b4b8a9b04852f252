// Opens a packed layer's data in the cache: whole, or sparse together with what can complete it, which is the addon, the blob
// and the index of its spans.

import type { Cache } from '../cache/cache.js'
import { PieceFile } from '../cache/piece-file.js'
import { isOcimountError, type OcimountError } from '../errors.js'
import type { Digest } from '../image/digest.js'
import { log } from '../logger.js'
import { loadNative, type NativeBindings } from '../native.js'
import { GzipSource } from './gzip-source.js'
import { indexGzip } from './index-gzip.js'
import type { LayerBlob } from './layer-blob.js'
import {
  hasSpanTable,
  lookForData,
  readSpanTable,
  storedDigest,
  storeIfPossible,
  storeSpanTable,
} from './layer-store.js'
import { withSlot } from './run-worker.js'
import type { SpanTable } from './span-table.js'

/** Tells whether the layer's bytes can be had from the cache, without reading any. */
export async function isDataUsable(blob: LayerBlob, cache: Cache): Promise<boolean> {
  const data = await lookForData(blob.diffId, cache)
  return data === 'whole' || (data === 'sparse' && (await findFiller(blob, cache)) !== undefined)
}

/**
 * Opens the data. Gives undefined where there is nothing, or parts that nothing here can complete.
 *
 * @throws OcimountError `SOURCE_CHANGED` where the blob is needed and is another file by now, `STORAGE_FAILED`,
 *   `CACHE_LOCKED`
 */
export async function openLayerData(blob: LayerBlob, cache: Cache): Promise<PieceFile | undefined> {
  const directory = cache.layerPath(blob.diffId)
  const source = await openSource(blob, cache)
  const file = await PieceFile.open(directory, {
    source: isOcimountError(source) ? undefined : source,
    store: cache.layerStore(blob.diffId),
    quota: cache.quota,
  })
  if (file?.isWhole === true) return file
  if (isOcimountError(source)) {
    await file?.close()
    throw source
  }
  if (source !== undefined) return file
  await file?.close()
  return undefined
}

/** A blob that cannot be opened is no loss to a layer that is there whole, which is known only later. */
async function openSource(
  blob: LayerBlob,
  cache: Cache,
): Promise<GzipSource | OcimountError | undefined> {
  const filler = await findFiller(blob, cache)
  if (filler === undefined) return undefined
  const { native, digest } = filler
  const loadTable = async (): Promise<SpanTable> =>
    (await readSpanTable(blob, digest, cache)) ?? (await remakeTable(blob, native, cache))
  try {
    return await GzipSource.open({
      ...{ native, blob, loadTable },
      keepAside: (bytes, position) => cache.writeUnnamed([bytes], position),
      // The next mount fetches it again.
      onRotten: async () => {
        if (blob.region.path === cache.blobPath(digest)) await cache.dropBlob(digest)
      },
    })
  } catch (error) {
    if (isOcimountError(error)) return error
    throw error
  }
}

async function remakeTable(
  blob: LayerBlob,
  native: NativeBindings,
  cache: Cache,
): Promise<SpanTable> {
  log.info({ layer: blob.diffId }, 'the index of a layer is made again')
  const index = await withSlot({}, () => indexGzip(blob, native, {}))
  await storeIfPossible('an index', () => storeSpanTable(blob, index, cache))
  return index.table
}

/** What pieces of a sparse layer can be made with. */
interface Filler {
  readonly native: NativeBindings
  readonly digest: Digest
}

async function findFiller(blob: LayerBlob, cache: Cache): Promise<Filler | undefined> {
  const digest = await storedDigest(blob, cache)
  if (digest === undefined || !(await hasSpanTable(digest, cache))) return undefined
  const native = loadNative()
  return native === undefined ? undefined : { native, digest }
}
