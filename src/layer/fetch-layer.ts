// Fetches a layer that lies elsewhere and indexes it while it comes in:
//
//   network ──▶ partial file ──digest right──▶ blob in the cache
//                   │                              │
//                   └──▶ the pass of its form ─────┴──under the layer's lock──▶ toc, index, data in the cache
//
// The pass hashes both sides by itself, as over a local file. It holds no lock while it waits for the network: another
// process may have the same layer in a file, and need nobody.

import { layerLock, type Cache } from '../cache/cache.js'
import { isOcimountError } from '../errors.js'
import { openRegion } from './blob-file.js'
import { hopFile, hopToc } from './hop-toc.js'
import { checkDigests, findIndexedLayer, indexLayer, lookAt } from './index-layer.js'
import type { ArrivingLayer, FetchOptions, LayerBlob } from './layer-blob.js'
import { isDataUsable } from './layer-data.js'
import { readToc, storeIfPossible } from './layer-store.js'
import type { LayerProgress } from './run-worker.js'
import { Slots } from './slots.js'
import { encodeToc } from './toc-file.js'
import type { Toc } from './toc.js'
import { unpackLayer } from './unpack-layer.js'
import { verifyLayer } from './verify-layer.js'
import type { LayerLimits } from './worker-messages.js'

export interface FetchLayerOptions extends Pick<FetchOptions, 'signal'> {
  readonly cache: Cache
  /** Called with the stored bytes that are there. */
  readonly onProgress?: ((progress: LayerProgress) => void) | undefined
  /** Called with the stored bytes that are read, when all of them are there and that is not over. */
  readonly onIndexProgress?: ((progress: LayerProgress) => void) | undefined
  readonly limits?: LayerLimits | undefined
  /** Takes the bytes as they lie in the blob, and makes nothing of one that is packed. */
  readonly inPlace?: boolean | undefined
}

/** A layer whose stored bytes are here. */
export interface FetchedLayer {
  readonly blob: LayerBlob
  /** Where it was made on the way; what else the pass has made is in the cache. */
  readonly toc: Toc | undefined
}

/**
 * Brings a layer in. Some are fetched at a time, in the order of the calls, by all of this process together. One that was here
 * and has rotted is fetched again.
 *
 * What is wrong with the bytes is told as `indexLayer` tells it.
 *
 * @throws OcimountError of `LayerBlob.fetch` and `indexLayer`
 */
export async function fetchLayer(
  fetch: NonNullable<LayerBlob['fetch']>,
  options: FetchLayerOptions,
): Promise<FetchedLayer> {
  const fetched = await bring(fetch, options)
  const { blob } = fetched
  const { cache, inPlace } = options
  if (fetched.isNew || (await findIndexedLayer(blob, cache, { inPlace })) !== undefined) {
    return fetched
  }
  try {
    return { blob, toc: await indexFound(blob, options) }
  } catch (error) {
    if (blob.digest === undefined || !isOcimountError(error, 'DIGEST_MISMATCH')) throw error
    if (error.details['expected'] !== blob.digest) throw error
    await cache.dropBlob(blob.digest)
    return bring(fetch, options)
  }
}

async function bring(
  fetch: NonNullable<LayerBlob['fetch']>,
  options: FetchLayerOptions,
): Promise<FetchedLayer & { readonly isNew: boolean }> {
  const { signal, onProgress } = options
  return fetches.run(signal, async () => {
    let toc: Toc | undefined
    let isNew = false
    const blob = await fetch({
      signal,
      onProgress,
      follow: async (layer) => {
        isNew = true
        toc = await indexArriving(layer, options)
      },
    })
    return { blob, toc, isNew }
  })
}

/** Indexes a blob that was in the cache already: what once was right may have rotted since, and is hashed again. */
async function indexFound(blob: LayerBlob, options: FetchLayerOptions): Promise<Toc> {
  const { cache, signal, limits, inPlace, onIndexProgress: onProgress } = options
  const indexed = await indexLayer(blob, { cache, signal, limits, inPlace, onProgress })
  const { toc, verification } = indexed
  if (verification === 'pending') await verifyLayer(blob, { cache, toc, signal, onProgress })
  return toc
}

/** As many as there are connections to one host; each that is followed takes some 12 MB of buffers. */
const fetches = new Slots(8)

/** Gives nothing where there is nothing to make, or where it cannot be made from what arrives. */
async function indexArriving(
  layer: ArrivingLayer,
  options: FetchLayerOptions,
): Promise<Toc | undefined> {
  const { blob, arrival, placed } = layer
  const { cache, limits, inPlace = false, onIndexProgress } = options
  const signal = AbortSignal.any([layer.signal, ...(options.signal ? [options.signal] : [])])
  checkDigests(blob)
  if (await isDataUsable(blob, cache)) return undefined
  const reach = (size: number): Promise<void> => arrival.reach(size, signal)
  const compression = await lookAt(blob, reach)
  if (compression === 'none') return listArriving(layer, { cache, limits, signal })
  if (inPlace || (compression !== 'gzip' && compression !== 'zstd')) return undefined
  return unpackLayer(blob, compression, {
    ...{ cache, limits, signal, arrival },
    onProgress:
      onIndexProgress &&
      ((progress) => {
        if (arrival.size === progress.total) onIndexProgress(progress)
      }),
    publish: async (store) => {
      await placed
      await cache.withLock(
        layerLock(blob.diffId),
        async () => {
          if (!(await isDataUsable(blob, cache))) await store()
        },
        { signal },
      )
    },
  })
}

/** A plain layer is right when its blob is, which is known when it is placed. */
async function listArriving(
  { blob, arrival, placed }: ArrivingLayer,
  options: Pick<FetchLayerOptions, 'cache' | 'limits'> & { readonly signal: AbortSignal },
): Promise<Toc | undefined> {
  const { region, digest, diffId } = blob
  const { cache, signal } = options
  if (digest !== diffId || (await readToc(diffId, cache)) !== undefined) return undefined
  const handle = await openRegion(region)
  try {
    const file = hopFile(handle, region)
    const toc = await hopToc(
      {
        size: file.size,
        read: (target, deviceOffset) => {
          const end = deviceOffset + target.length
          if (arrival.size >= end) return file.read(target, deviceOffset)
          return arrival.reach(end, signal).then(() => file.read(target, deviceOffset))
        },
      },
      options,
    )
    await placed
    await storeIfPossible('a toc', () => cache.writeSealed(cache.tocPath(diffId), encodeToc(toc)))
    return toc
  } catch (error) {
    // Wrong bytes would explain it, and then this is over before.
    if (isOcimountError(error, 'TAR_CORRUPT', 'LAYER_CORRUPT', 'LIMIT_EXCEEDED')) await placed
    throw error
  } finally {
    await handle.close()
  }
}
