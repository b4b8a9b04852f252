// From layer blobs to a mountable tree: loads it from the cache, or indexes, merges and writes it.
//
//   the tree of these DiffIDs in the cache? ──yes──▶ open it; only layers that the cache does not know are indexed
//          │ no
//          ▼
//   index every layer ──▶ apply, write EROFS ──all verified──▶ into the cache
//                                   │ some pending
//                                   ▼
//                       served from memory; verify() publishes it, or fails every device

import type { Cache } from '../cache/cache.js'
import type { ErofsImage } from '../erofs/reader.js'
import { isOcimountError, messageOf } from '../errors.js'
import type { DiffId } from '../image/digest.js'
import type { LayerDevice } from '../layer/device.js'
import type { LayerBlob } from '../layer/layer-blob.js'
import { NotLazyError } from '../layer/lazy-index.js'
import { verifyLayer } from '../layer/verify-layer.js'
import { log } from '../logger.js'
import type { StackedLayer } from './apply-layers.js'
import { EMPTY_DEVICE } from './empty-device.js'
import { loadTree, makeTree, publishTree } from './merged-tree.js'
import {
  prepareLayers,
  type PreparedLayer,
  type PrepareOptions,
  type RootfsProgress,
} from './prepare-layers.js'
import { rootfsKey, ROOTFS_WRITER_VERSION, type RootfsInfo } from './rootfs-file.js'
import { pinIfPossible, touchUsed, usedPathsOf } from './used-entries.js'
import { VirtualDevice } from './virtual-device.js'

export interface BuildRootfsOptions {
  readonly cache: Cache
  /** When plain layers of local files are hashed (DESIGN section 7): by {@link Rootfs.verify}, or here. */
  readonly verify?: 'background' | 'before' | undefined
  /** Takes every layer where it lies in its local file, for a mount that reads those directly; a packed layer is an error. */
  readonly inPlace?: boolean | undefined
  /** Has every layer here whole, also those that could be read in parts. */
  readonly whole?: boolean | undefined
  readonly onProgress?: ((progress: RootfsProgress) => void) | undefined
  /** What a person should know of how it goes. */
  readonly onWarning?: ((warning: string) => void) | undefined
  readonly signal?: AbortSignal | undefined
}

/** How a layer is had. */
export type LayerFacts = Pick<PreparedLayer, 'mode' | 'warning'>

/** The merged tree of an image and the devices that its files point into. */
export interface Rootfs {
  /** Names the stack of layers; two images with the same layers have the same key. */
  readonly key: string
  readonly image: ErofsImage
  readonly info: RootfsInfo
  /** The distinct layers of the image, in the order of their devices. */
  readonly layers: readonly LayerFacts[]
  /** In the order of the EROFS device table, the virtual device last where there is one. */
  readonly devices: readonly LayerDevice[]
  /** False while bytes are served that {@link Rootfs.verify} has not hashed. */
  readonly isVerified: boolean
  /**
   * Hashes what is pending and publishes the tree in the cache; at once where nothing is.
   *
   * @throws OcimountError `DIGEST_MISMATCH` after which every read of every device fails; `SOURCE_CHANGED`,
   *   `INTERRUPTED`
   */
  verify(options?: {
    readonly onProgress?: ((progress: RootfsProgress) => void) | undefined
    readonly signal?: AbortSignal | undefined
  }): Promise<void>
  /**
   * Makes the tree with one more layer on top, which is of no image and has no bytes. It shares the devices of this one,
   * which has to be closed after it.
   *
   * @throws OcimountError `TAR_CORRUPT`, `LIMIT_EXCEEDED`, `STORAGE_FAILED`
   */
  withLayer(layer: StackedLayer): Promise<Rootfs>
  /** Closes the devices and lets the cache prune what was used. */
  close(): Promise<void>
}

/**
 * Makes the tree of an image's layers mountable.
 *
 * A tree in the cache was made from layers that had these DiffIDs, so it is the tree of these layers too, if they are
 * what they claim; until a plain local layer was hashed, {@link Rootfs.isVerified} is false.
 *
 * @throws OcimountError of tar, layer and cache: `TAR_CORRUPT`, `LAYER_CORRUPT`, `DIGEST_MISMATCH`, `SIZE_MISMATCH`,
 *   `COMPRESSION_UNSUPPORTED`, `IMAGE_UNSUPPORTED`, `LIMIT_EXCEEDED`, `SOURCE_CHANGED`, `STORAGE_FULL`, `STORAGE_FAILED`,
 *   `INTERRUPTED`
 */
export async function buildRootfs(
  image: { readonly layers: readonly LayerBlob[] },
  options: BuildRootfsOptions,
): Promise<Rootfs> {
  const notLazy = new Map<DiffId, string>()
  for (;;) {
    const before = notLazy.size
    try {
      return await attempt(image, { ...options, notLazy })
    } catch (error) {
      // Pruned between the look and the use; the next attempt has the layer whole, and says so.
      if (!(error instanceof NotLazyError) || notLazy.size === before) throw error
      log.warn({ why: error.why }, 'a layer cannot be read in parts any more')
    }
  }
}

async function attempt(
  image: { readonly layers: readonly LayerBlob[] },
  options: BuildRootfsOptions & Pick<PrepareOptions, 'notLazy'>,
): Promise<Rootfs> {
  const { cache } = options
  // Pinned before it is looked for, so that nothing is pruned between the look and the use.
  const releases = [await pinIfPossible(cache, await usedPathsOf(image.layers, cache))]
  let publishing: Promise<void> = Promise.resolve()
  const release = async (): Promise<void> => {
    await Promise.allSettled([publishing])
    await Promise.allSettled(releases.map((one) => one()))
  }
  const opened: LayerDevice[] = []
  try {
    const layers = await prepareLayers(image.layers, options)
    const ids = new Map(layers.map(({ blob, layerId }) => [blob.diffId, layerId]))
    const layerIds = image.layers.map(({ diffId }) => ids.get(diffId) ?? diffId)
    const key = rootfsKey(layerIds)
    const path = cache.rootfsPath(ROOTFS_WRITER_VERSION, key)
    releases.push(await pinIfPossible(cache, [path]))
    const cached = await loadTree(cache, path)
    const { bytes, image: erofsImage, info } = cached ?? (await makeTree(layerIds, layers))
    const pending = layers.filter(({ isVerified }) => !isVerified)
    if (cached === undefined && pending.length === 0) {
      publishing = publishTree(cache, path, bytes)
      // Whoever waits for it gets the error, and not everybody does.
      publishing.catch((error: unknown) => {
        log.warn({ why: messageOf(error) }, 'the merged tree is not in the cache')
      })
    }
    for (const layer of layers) opened.push(await layer.openDevice())
    // With most of the image still to be fetched, the mount need not wait for the disk.
    if (!layers.some(({ mode }) => mode === 'lazy')) await publishing
    void touchUsed(cache, path, image.layers)
    const rootfs = new BuiltRootfs({
      ...{ key, path, bytes, info, cache, layers },
      facts: layers.map(({ mode, warning }) => ({ mode, warning })),
      verifyLayers: (steps) => verifyLayers(pending, opened, { ...steps, cache }),
      isVerified: pending.length === 0,
      ownsDevices: true,
      image: erofsImage,
      layerDevices: opened,
      isCached: cached !== undefined,
      release,
    })
    if (options.verify === 'before') await rootfs.verify(options)
    return rootfs
  } catch (error) {
    await Promise.allSettled(opened.map((device) => device.close()))
    await release()
    throw error
  }
}

type VerifySteps = Parameters<Rootfs['verify']>[0]

/** Hashes layers; when one is wrong every device fails. */
async function verifyLayers(
  pending: readonly PreparedLayer[],
  devices: readonly LayerDevice[],
  { cache, onProgress, signal }: { readonly cache: Cache } & NonNullable<VerifySteps>,
): Promise<void> {
  try {
    for (const layer of pending) {
      const { blob, what } = layer
      await verifyLayer(blob, {
        cache,
        toc: await layer.loadToc(),
        signal,
        onProgress:
          onProgress &&
          ((progress) => {
            onProgress({ what: `verifying ${what}`, ...progress })
          }),
      })
    }
  } catch (error) {
    if (isOcimountError(error, 'DIGEST_MISMATCH', 'SOURCE_CHANGED')) {
      for (const device of devices) device.fail?.(error)
    }
    throw error
  }
}

interface BuiltParts {
  readonly key: string
  readonly path: string
  readonly bytes: Buffer
  readonly info: RootfsInfo
  readonly facts: readonly LayerFacts[]
  readonly cache: Cache
  /** Hold their tocs, and so does what verifies them; both go when that is done. */
  layers: readonly PreparedLayer[]
  verifyLayers: (steps: VerifySteps) => Promise<void>
  /** Whether there is nothing to verify. */
  readonly isVerified: boolean
  readonly image: ErofsImage
  readonly layerDevices: readonly LayerDevice[]
  /** Whether they are closed with it. */
  readonly ownsDevices: boolean
  readonly isCached: boolean
  readonly release: () => Promise<void>
}

class BuiltRootfs implements Rootfs {
  readonly key: string
  readonly image: ErofsImage
  readonly info: RootfsInfo
  readonly layers: readonly LayerFacts[]
  readonly devices: readonly LayerDevice[]
  readonly #parts: BuiltParts
  #verification: Promise<void> | undefined
  #isVerified: boolean

  constructor(parts: BuiltParts) {
    this.#parts = parts
    this.#isVerified = parts.isVerified
    this.key = parts.key
    this.image = parts.image
    this.info = parts.info
    this.layers = parts.facts
    const { virtual } = parts.info
    this.devices =
      virtual.size > 0
        ? [...parts.layerDevices, new VirtualDevice(virtual, parts.layerDevices)]
        : parts.layerDevices
  }

  get isVerified(): boolean {
    return this.#isVerified
  }

  verify(steps: VerifySteps = {}): Promise<void> {
    this.#verification ??= this.#verify(steps)
    return this.#verification
  }

  async withLayer(layer: StackedLayer): Promise<Rootfs> {
    const { cache, layers, layerDevices } = this.#parts
    const layerIds = [...this.info.layerIds, layer.layerId]
    const key = rootfsKey(layerIds)
    const path = cache.rootfsPath(ROOTFS_WRITER_VERSION, key)
    const release = await pinIfPossible(cache, [path])
    try {
      const cached = await loadTree(cache, path)
      const { bytes, image, info } = cached ?? (await makeTree(layerIds, layers, layer))
      if (cached === undefined && this.isVerified) await publishTree(cache, path, bytes)
      return new BuiltRootfs({
        ...{ key, path, bytes, info, image, cache, layers, release, facts: this.layers },
        isVerified: this.isVerified,
        verifyLayers: (steps) => this.verify(steps),
        layerDevices: [...layerDevices, EMPTY_DEVICE],
        ownsDevices: false,
        isCached: cached !== undefined,
      })
    } catch (error) {
      await release()
      throw error
    }
  }

  async close(): Promise<void> {
    const { ownsDevices, layerDevices, release } = this.#parts
    if (ownsDevices) await Promise.allSettled(layerDevices.map((device) => device.close()))
    await release()
  }

  async #verify(steps: VerifySteps): Promise<void> {
    const { cache, path, bytes, isCached } = this.#parts
    if (this.#isVerified) return
    await this.#parts.verifyLayers(steps)
    if (!isCached) await publishTree(cache, path, bytes)
    this.#isVerified = true
    this.#parts.layers = []
    this.#parts.verifyLayers = () => Promise.resolve()
  }
}
