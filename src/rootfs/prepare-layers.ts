// Layers on their way into a tree: each known to the cache already, or indexed here, all at the same time.

import { setMaxListeners } from 'node:events'
import type { Cache } from '../cache/cache.js'
import { OcimountError } from '../errors.js'
import type { DiffId } from '../image/digest.js'
import type { LayerDevice } from '../layer/device.js'
import { fetchLayer, type FetchedLayer, type FetchLayerOptions } from '../layer/fetch-layer.js'
import { findIndexedLayer, indexLayer } from '../layer/index-layer.js'
import type { LayerBlob } from '../layer/layer-blob.js'
import { lookForData } from '../layer/layer-store.js'
import { NotLazyError } from '../layer/lazy-index.js'
import { OpenableLazyLayer } from '../layer/lazy-layer.js'
import type { Toc } from '../layer/toc.js'

/**
 * Where a layer's bytes come from: `local` from files that were here, `streamed` from a download that had to end first, `lazy`
 * from a registry as they are read.
 */
export type LayerMode = 'local' | 'streamed' | 'lazy'

/** A layer on its way into a tree. */
export interface PreparedLayer {
  readonly blob: LayerBlob
  /** What the tree of layers knows it by: its DiffID, or for one that is read in parts the id that its table of contents gives. */
  readonly layerId: string
  readonly what: string
  readonly isVerified: boolean
  readonly mode: LayerMode
  /** Something about it that a person should be told. */
  readonly warning?: string | undefined
  /** @throws NotLazyError where what the cache knew of a lazy layer is gone by now and cannot be had again in parts */
  loadToc(): Promise<Toc>
  /** @throws NotLazyError as {@link PreparedLayer.loadToc} */
  openDevice(): Promise<LayerDevice>
}

/** How far one piece of work has come, in bytes. */
export interface RootfsProgress {
  /** Words for a person, such as `layer 2 of 3`. */
  readonly what: string
  readonly done: number
  readonly total: number
}

export interface PrepareOptions {
  readonly cache: Cache
  /** Takes every layer where it lies in its local file, for a mount that reads those directly; a packed layer is an error. */
  readonly inPlace?: boolean | undefined
  /** Has every layer here whole, also those that could be read in parts. */
  readonly whole?: boolean | undefined
  /** Why layers cannot be read in parts that were to be; {@link PreparedLayer.loadToc} and `openDevice` add to it. */
  readonly notLazy?: Map<DiffId, string> | undefined
  readonly onProgress?: ((progress: RootfsProgress) => void) | undefined
  /** What a person should know of how it goes. */
  readonly onWarning?: ((warning: string) => void) | undefined
  readonly signal?: AbortSignal | undefined
}

/**
 * Indexes the layers that the cache does not know; one that occurs twice in the stack is prepared once. The
 * first failure stops the work on all others, and is thrown when that has ended: nothing goes on behind it.
 *
 * @throws OcimountError of `indexLayer` and `findIndexedLayer`
 */
export async function prepareLayers(
  layers: readonly LayerBlob[],
  options: PrepareOptions,
): Promise<PreparedLayer[]> {
  const stop = new AbortController()
  const signals = options.signal === undefined ? [] : [options.signal]
  const signal = AbortSignal.any([...signals, stop.signal])
  // Every layer that waits for its turn listens. Ten, from where Node.js warns of a leak, is few for an image.
  setMaxListeners(0, signal)
  const results = await Promise.allSettled(
    distinctLayers(layers).map(async (blob) => {
      try {
        return await prepareLayer(blob, { ...options, signal })
      } catch (error) {
        stop.abort(error)
        throw error
      }
    }),
  )
  if (stop.signal.aborted) throw stop.signal.reason
  return results.map((result) => {
    if (result.status === 'rejected') throw result.reason
    return result.value
  })
}

async function prepareLayer(
  numbered: NumberedBlob,
  options: PrepareOptions,
): Promise<PreparedLayer> {
  const lazy = await prepareLazy(numbered, options)
  if (typeof lazy === 'object') return lazy
  const warning = lazy === undefined ? undefined : `${numbered.what} is pulled whole: ${lazy}`
  return { ...(await prepareWhole(numbered, options)), warning }
}

/** Gives undefined for a layer that cannot be read in parts or need not be, and why where its manifest promises otherwise. */
async function prepareLazy(
  { blob, what }: NumberedBlob,
  { cache, signal, inPlace = false, whole = false, notLazy }: PrepareOptions,
): Promise<PreparedLayer | string | undefined> {
  const { lazy, digest, diffId } = blob
  if (lazy === undefined || digest === undefined || inPlace || whole) return undefined
  if ((await lookForData(diffId, cache)) === 'whole' || (await cache.hasBlob(digest))) {
    return undefined
  }
  const known = notLazy?.get(diffId)
  if (known !== undefined) return known
  const { claim, ranges } = lazy
  if ('problem' in claim) {
    if (!claim.isRefused) return claim.problem
    throw new OcimountError('IMAGE_INVALID', `Cannot use layer ${digest}: ${claim.problem}`)
  }
  try {
    const { index } = claim
    const layer = await OpenableLazyLayer.prepare(blob, { index, ranges }, { cache, signal })
    const noting = async <T>(work: Promise<T>): Promise<T> => {
      try {
        return await work
      } catch (error) {
        if (error instanceof NotLazyError) notLazy?.set(diffId, error.why)
        throw error
      }
    }
    return {
      ...{ blob, what, layerId: layer.layerId, isVerified: true, mode: 'lazy' },
      loadToc: () => noting(layer.loadToc()),
      openDevice: () => noting(layer.openDevice()),
    }
  } catch (error) {
    if (error instanceof NotLazyError) return error.why
    throw error
  }
}

async function prepareWhole(
  numbered: NumberedBlob,
  options: PrepareOptions,
): Promise<PreparedLayer> {
  const { cache, onProgress, onWarning, signal, inPlace } = options
  const { what } = numbered
  const { blob, toc } = await fetchIfNeeded(numbered, options)
  const known = await findIndexedLayer(blob, cache, { inPlace })
  if (known !== undefined) {
    return {
      blob,
      layerId: known.layerId,
      what,
      isVerified: true,
      mode: blob === numbered.blob ? 'local' : 'streamed',
      loadToc: async () => toc ?? (await known.loadToc()),
      openDevice: () => known.openDevice(),
    }
  }
  const indexed = await indexLayer(blob, {
    cache,
    signal,
    inPlace,
    onWarning,
    onProgress:
      onProgress &&
      ((progress) => {
        onProgress({ what, ...progress })
      }),
  })
  return {
    blob,
    layerId: indexed.layerId,
    what,
    isVerified: indexed.verification === 'verified',
    mode: blob === numbered.blob ? 'local' : 'streamed',
    loadToc: () => Promise.resolve(indexed.toc),
    openDevice: () => indexed.openDevice(),
  }
}

/** Stored bytes that lie elsewhere are brought in, unless what was made of them is here whole. */
async function fetchIfNeeded(
  { blob, what }: NumberedBlob,
  { cache, onProgress, signal, inPlace }: PrepareOptions,
): Promise<FetchedLayer> {
  const { fetch, diffId } = blob
  if (fetch === undefined || (await lookForData(diffId, cache)) === 'whole') {
    return { blob, toc: undefined }
  }
  const report = (text: string): FetchLayerOptions['onProgress'] =>
    onProgress &&
    ((progress) => {
      onProgress({ what: text, ...progress })
    })
  return fetchLayer(fetch, {
    ...{ cache, signal, inPlace },
    onProgress: report(`pulling ${what}`),
    onIndexProgress: report(what),
  })
}

interface NumberedBlob {
  readonly blob: LayerBlob
  readonly what: string
}

function distinctLayers(layers: readonly LayerBlob[]): NumberedBlob[] {
  const found = new Map<DiffId, NumberedBlob>()
  for (const [index, blob] of layers.entries()) {
    if (found.has(blob.diffId)) continue
    found.set(blob.diffId, { blob, what: `layer ${index + 1} of ${layers.length}` })
  }
  return [...found.values()]
}
