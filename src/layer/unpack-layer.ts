// Makes a packed layer's entries in the cache, in one pass over the blob: gzip by the addon, which stores what describes the
// layer and none of its bytes; anything else, and gzip where the addon is missing, in a worker that stores all of them.

import type { Cache } from '../cache/cache.js'
import { writeSparseData } from '../cache/sparse-data.js'
import type { DecompressibleKind } from '../compression/detect.js'
import { OcimountError } from '../errors.js'
import { log } from '../logger.js'
import { loadNative, nativeUnavailableReason, type NativeBindings } from '../native.js'
import { indexGzip, type IndexGzipOptions } from './index-gzip.js'
import type { LayerBlob } from './layer-blob.js'
import { storeIfPossible, storeSpanTable } from './layer-store.js'
import { runLayerTask, withSlot } from './run-worker.js'
import { longestSpan } from './span-table.js'
import { decodeToc, encodeToc } from './toc-file.js'
import type { Toc } from './toc.js'

export interface UnpackOptions extends IndexGzipOptions {
  readonly cache: Cache
  /** Called once in a process, where gzip has to be unpacked for want of the addon. */
  readonly onWarning?: ((warning: string) => void) | undefined
  /** Calls `store`, which makes the entries, when the time for it has come. Default: at once. */
  readonly publish?: ((store: () => Promise<void>) => Promise<void>) | undefined
}

/**
 * Makes the layer's entries in the cache and gives the toc. The caller holds the layer's lock, at least while it publishes.
 *
 * @throws OcimountError `DIGEST_MISMATCH`, `LAYER_CORRUPT`, `TAR_CORRUPT`, `COMPRESSION_UNSUPPORTED`,
 *   `LIMIT_EXCEEDED`, `SOURCE_CHANGED`, `STORAGE_FULL`, `STORAGE_FAILED`, `INTERRUPTED`
 */
export async function unpackLayer(
  blob: LayerBlob,
  compression: DecompressibleKind,
  options: UnpackOptions,
): Promise<Toc> {
  if (compression === 'gzip') {
    const native = loadNative()
    if (native === undefined) warnOfSlowness(options.onWarning)
    const toc = native === undefined ? undefined : await describe(blob, native, options)
    if (toc !== undefined) return toc
  }
  return await decompressAll(blob, compression, options)
}

/** Gives undefined for a blob that cannot be had in parts. */
async function describe(
  blob: LayerBlob,
  native: NativeBindings,
  options: UnpackOptions,
): Promise<Toc | undefined> {
  const { cache, publish = atOnce } = options
  const index = await withSlot(options, () => indexGzip(blob, native, options))
  const { toc, table, pieceDigests: digests } = index
  if (longestSpan(table) > MAX_SPAN) {
    log.info({ layer: blob.diffId }, 'a layer has too few checkpoints to be read in parts')
    return undefined
  }
  await publish(async () => {
    const staging = await cache.stage()
    try {
      await storeSpanTable(blob, index, cache)
      await storeIfPossible('a toc', () =>
        cache.writeSealed(cache.tocPath(blob.diffId), encodeToc(toc)),
      )
      await writeSparseData(staging.path, { deviceSize: toc.deviceSize, digests })
      await staging.publish('.', cache.layerPath(blob.diffId))
    } finally {
      await staging.remove()
    }
  })
  return toc
}

async function decompressAll(
  { region, digest, diffId }: LayerBlob,
  compression: DecompressibleKind,
  options: UnpackOptions,
): Promise<Toc> {
  const { cache, limits = {}, publish = atOnce } = options
  if (!cache.takesWhole) {
    const why = `a ${compression} layer has to be unpacked whole, and there is no room for it`
    throw new OcimountError('STORAGE_FULL', `Cannot unpack layer ${diffId}: ${why}`)
  }
  const staging = await cache.stage()
  try {
    const directory = staging.path
    const task = { kind: 'index', region, compression, digest, diffId, directory, limits } as const
    const parts = await runLayerTask(task, options)
    await publish(async () => {
      await storeIfPossible('a toc', () => cache.writeSealed(cache.tocPath(diffId), parts))
      await staging.publish('.', cache.layerPath(diffId))
    })
    return decodeToc(Buffer.concat(parts))
  } finally {
    await staging.remove()
  }
}

function atOnce(store: () => Promise<void>): Promise<void> {
  return store()
}

/** Blocks of deflate beyond this would make a read of one byte slower than having it all. */
const MAX_SPAN = 64 * 1024 * 1024

let isWarned = false

function warnOfSlowness(onWarning: UnpackOptions['onWarning']): void {
  if (isWarned) return
  isWarned = true
  const why = nativeUnavailableReason() ?? 'unknown'
  const warning = `the addon is missing (${why}): gzip layers are unpacked whole, which is slow`
  log.info({}, warning)
  onWarning?.(warning)
}
