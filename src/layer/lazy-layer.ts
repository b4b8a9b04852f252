// A layer that is read in parts while it is mounted, since its manifest vouches for a table of contents. It is named after that
// table, `toc<layout>:<digest>`: what the table says, and the way in which lazy-toc.ts makes a device of it, are all that it is.

import { layerLock, type Cache } from '../cache/cache.js'
import { PieceFile } from '../cache/piece-file.js'
import { writeSparseData } from '../cache/sparse-data.js'
import { isOcimountError, messageOf, OcimountError } from '../errors.js'
import type { LazyIndex } from '../image/lazy-index.js'
import { log } from '../logger.js'
import { ChunkSource } from './chunk-source.js'
import { decodeChunkTable, encodeChunkTable, type ChunkTable } from './chunk-table.js'
import type { LayerDevice } from './device.js'
import type { BlobRanges, LayerBlob } from './layer-blob.js'
import { lazyLayerId, lookForData, readToc, storeIfPossible } from './layer-store.js'
import { NotLazyError, probeRanges, readLazyIndex, type IndexedBlob } from './lazy-index.js'
import type { LazyContents } from './lazy-toc.js'
import { ReadProfile } from './read-profile.js'
import { encodeToc } from './toc-file.js'
import type { Toc } from './toc.js'

export interface LazyLayerOptions {
  readonly cache: Cache
  readonly signal?: AbortSignal | undefined
}

/**
 * After the device was opened, what its table says is kept: to encode and write it takes 0.1 s, which neither the mount nor the first
 * reads need to wait for. Who needs it before that gets it from the registry.
 */
const KEPT_AFTER_MS = 3000

/** A lazy layer whose table of contents is known and whose blob can be read. */
export class OpenableLazyLayer {
  readonly layerId: string
  readonly #blob: IndexedBlob
  readonly #cache: Cache
  /** What was just read, for who asks first. */
  #toc: Toc | undefined
  #chunks: ChunkTable | undefined
  /** What was read and is not in the cache yet. */
  #unkept: LazyContents | undefined
  #timer: NodeJS.Timeout | undefined
  #keeping: Promise<void> = Promise.resolve()

  private constructor(blob: IndexedBlob, cache: Cache) {
    this.layerId = lazyLayerId(blob.index)
    this.#blob = blob
    this.#cache = cache
  }

  /**
   * Gets the table of contents of a layer unless the cache has it, and makes sure that parts of the blob can be had.
   *
   * @throws NotLazyError where the layer has to be had whole; OcimountError `DIGEST_MISMATCH`, `REGISTRY_UNAVAILABLE`,
   *   `REGISTRY_DENIED`, `BLOB_MISSING`, `SIZE_MISMATCH`, `STORAGE_FULL`, `STORAGE_FAILED`, `CACHE_LOCKED`, `INTERRUPTED`
   */
  static async prepare(
    { digest, region }: LayerBlob,
    { index, ranges }: { readonly index: LazyIndex; readonly ranges: BlobRanges },
    { cache, signal }: LazyLayerOptions,
  ): Promise<OpenableLazyLayer> {
    if (digest === undefined) throw new OcimountError('INTERNAL', 'Cannot read a blob: no digest')
    // What the cache knows of the table came from another blob then.
    if (region.length === 0) throw new NotLazyError('its blob is empty')
    const blob = { index, digest, size: region.length, ranges }
    const layer = new OpenableLazyLayer(blob, cache)
    const known = await lookForData(layer.layerId, cache)
    if (known === 'none') await layer.#make(signal)
    // What is missing is missed before anything is mounted, not by whoever reads it first.
    else if (known === 'sparse') await probeRanges(ranges, signal)
    return layer
  }

  async loadToc(): Promise<Toc> {
    const toc = this.#toc
    this.#toc = undefined
    return toc ?? (await readToc(this.layerId, this.#cache)) ?? (await this.#read(undefined)).toc
  }

  /** Opens the device; each call a new one, which the caller closes. */
  async openDevice(): Promise<LayerDevice> {
    const device = await this.#openDevice()
    if (this.#unkept !== undefined) {
      this.#timer ??= setTimeout(() => void this.#keep(), KEPT_AFTER_MS).unref()
    }
    return device
  }

  async #openDevice(): Promise<LayerDevice> {
    const open = (): Promise<PieceFile | undefined> =>
      PieceFile.open(this.#cache.layerPath(this.layerId), {
        source: new ChunkSource({
          ranges: this.#blob.ranges,
          loadTable: (signal) => this.#loadTable(signal),
          profile: new ReadProfile(this.layerId, this.#cache),
          onClose: () => this.#keep(),
        }),
        store: this.#cache.layerStore(this.layerId),
        quota: this.#cache.quota,
      })
    const file = await open()
    if (file !== undefined) return file
    // Pruned, or dropped as corrupt, since somebody looked.
    await this.#make(undefined)
    const again = await open()
    if (again !== undefined) return again
    const message = `Cannot open layer ${this.layerId}: its data vanishes from the cache`
    throw new OcimountError('STORAGE_FAILED', message)
  }

  /** Makes the layer's entries in the cache, once for all processes that want them. */
  async #make(signal: AbortSignal | undefined): Promise<void> {
    const work = async (): Promise<void> => {
      if ((await lookForData(this.layerId, this.#cache)) !== 'none') return
      const { toc, chunks } = await this.#read(signal)
      this.#toc = toc
      this.#chunks = chunks
      const { deviceSize } = toc
      const staging = await this.#cache.stage()
      try {
        await writeSparseData(staging.path, { deviceSize })
        await staging.publish('.', this.#cache.layerPath(this.layerId))
      } finally {
        await staging.remove()
      }
    }
    await this.#cache.withLock(layerLock(this.layerId), work, { signal })
  }

  /** Reads the table of contents out of the blob. */
  async #read(signal: AbortSignal | undefined): Promise<LazyContents> {
    const contents = await readLazyIndex(this.#blob, signal)
    this.#unkept = contents
    return contents
  }

  /** Keeps what was read where the disk takes it. Never rejects. */
  #keep(): Promise<void> {
    clearTimeout(this.#timer)
    this.#timer = undefined
    const contents = this.#unkept
    this.#unkept = undefined
    if (contents === undefined) return this.#keeping
    const cache = this.#cache
    const store = async (): Promise<void> => {
      await cache.writeSealed(cache.tocPath(this.layerId), encodeToc(contents.toc))
      await cache.writeSealed(cache.chunksPath(this.layerId), encodeChunkTable(contents.chunks))
    }
    this.#keeping = storeIfPossible('a toc', store).catch((error: unknown) => {
      log.warn({ layer: this.layerId, why: messageOf(error) }, 'could not store a toc')
    })
    return this.#keeping
  }

  /** The table of another blob with the same table of contents does not count: its chunks may lie elsewhere. */
  async #loadTable(signal: AbortSignal): Promise<ChunkTable> {
    const chunks = this.#chunks
    this.#chunks = undefined
    if (chunks !== undefined) return chunks
    const path = this.#cache.chunksPath(this.layerId)
    const payload = await this.#cache.readSealed(path)
    try {
      const table = payload === undefined ? undefined : decodeChunkTable(payload)
      const { digest, size } = this.#blob
      if (table?.blobDigest === digest && table.blobSize === size) return table
    } catch (error) {
      if (!isOcimountError(error, 'CACHE_CORRUPT')) throw error
      log.info({ path, why: error.message }, 'ignored a table of chunks that cannot be used')
    }
    return (await this.#read(signal)).chunks
  }
}
