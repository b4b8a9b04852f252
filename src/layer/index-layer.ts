// From a blob to a toc and a device. What is done depends on what is known already:
//
//   region verified as this plain layer  ──▶ toc from the cache, device on the file                verified
//   whole data of this DiffID, or sparse
//   data and the spans of this blob      ──▶ toc and device from the cache                         verified
//   plain bytes                          ──▶ toc from the cache or by hopping, device on the file  pending, see verify-layer.ts
//   gzip, with the addon                 ──▶ one pass that stores no bytes, then as the second row verified
//   zstd, or gzip without it             ──▶ one pass in a worker that stores all, then the same   verified
//
// Nothing enters the cache under a DiffID before bytes were hashed to it.

import { layerLock, type Cache } from '../cache/cache.js'
import {
  detectCompression,
  DETECTION_LENGTH,
  type Compression,
  type DecompressibleKind,
} from '../compression/detect.js'
import { OcimountError } from '../errors.js'
import { createDigestHash, digestAlgorithm, digestMismatch, type DiffId } from '../image/digest.js'
import { checkRegion, openRegion, readRegion } from './blob-file.js'
import type { LayerDevice } from './device.js'
import { DirectDevice } from './file-device.js'
import { hopFile, hopToc } from './hop-toc.js'
import type { LayerBlob } from './layer-blob.js'
import { isDataUsable, openLayerData } from './layer-data.js'
import { isVerifiedRegion, readToc, storeIfPossible } from './layer-store.js'
import type { LayerProgress } from './run-worker.js'
import { encodeToc } from './toc-file.js'
import type { Toc } from './toc.js'
import { unpackLayer } from './unpack-layer.js'
import { explainByDigest } from './verify-layer.js'
import type { LayerLimits } from './worker-messages.js'

/** A layer that can be mounted. */
export interface IndexedLayer {
  /** What names the layer's tree: its DiffID. */
  readonly layerId: DiffId
  readonly toc: Toc
  /** `pending` until {@link verifyLayer} has hashed the bytes; the device must be made to fail when it finds them wrong. */
  readonly verification: 'verified' | 'pending'
  /** Opens the device; each call a new one, which the caller closes. */
  readonly openDevice: () => Promise<LayerDevice>
}

/** A layer whose bytes are known to be right, without anything of it having been read. */
export interface KnownLayer {
  readonly layerId: DiffId
  readonly verification: 'verified'
  readonly openDevice: () => Promise<LayerDevice>
  readonly loadToc: () => Promise<Toc>
}

export interface IndexLayerOptions {
  readonly cache: Cache
  /** Called about ten times a second while a compressed layer is read, in bytes as stored. */
  readonly onProgress?: ((progress: LayerProgress) => void) | undefined
  readonly signal?: AbortSignal | undefined
  readonly limits?: LayerLimits | undefined
  /** What a person should know of how it goes. */
  readonly onWarning?: ((warning: string) => void) | undefined
  /** Takes the bytes where they lie in the local file, and refuses a layer that is packed. */
  readonly inPlace?: boolean | undefined
}

/**
 * Gives what can be had without reading a byte of the layer, or undefined when it has to be indexed.
 *
 * Costs a look at a few small files. What was lost from the cache since is made again by the methods of the result. With
 * `inPlace` the device is a region of the local file.
 *
 * @throws OcimountError `STORAGE_FAILED`, `IMAGE_INVALID` for a DiffID that cannot be verified
 */
export async function findIndexedLayer(
  blob: LayerBlob,
  cache: Cache,
  { inPlace = false }: Pick<IndexLayerOptions, 'inPlace'> = {},
): Promise<KnownLayer | undefined> {
  const { region, diffId } = blob
  if (await isVerifiedRegion(blob, cache)) {
    return {
      layerId: diffId,
      verification: 'verified',
      openDevice: () => DirectDevice.open(region),
      loadToc: async () => (await readToc(diffId, cache)) ?? (await relistPlain(blob, cache)),
    }
  }
  if (inPlace || !(await isDataUsable(blob, cache))) return undefined
  return {
    layerId: diffId,
    verification: 'verified',
    openDevice: () => openData(blob, cache),
    loadToc: async () => (await readToc(diffId, cache)) ?? (await relistData(blob, cache)),
  }
}

/**
 * Lists a layer and says where its bytes are; see the top of this file for how.
 *
 * What the blob is packed as is found by looking at it (checklist ). Processes that index the same
 * compressed layer at once do the work once. Memory is bounded by the number of entries alone.
 *
 * @throws OcimountError `DIGEST_MISMATCH` for bytes that are not what the image says, also as the reason why they
 *   cannot be read; `SIZE_MISMATCH`; with right digests `TAR_CORRUPT`, `LAYER_CORRUPT`, `COMPRESSION_UNSUPPORTED`,
 *   `LIMIT_EXCEEDED`; `IMAGE_UNSUPPORTED` for digests of an unknown kind, and with `inPlace` for a packed layer;
 *   `SOURCE_CHANGED`, `STORAGE_FULL`, `STORAGE_FAILED`, `CACHE_LOCKED`, `INTERRUPTED`
 */
export async function indexLayer(
  blob: LayerBlob,
  options: IndexLayerOptions,
): Promise<IndexedLayer> {
  checkDigests(blob)
  const known = await findIndexedLayer(blob, options.cache, options)
  if (known !== undefined) return { ...known, toc: await known.loadToc() }
  const compression = await lookAt(blob)
  if (compression === 'none') return indexPlain(blob, options)
  if (options.inPlace === true) throw packedError(blob, compression)
  if (compression === 'gzip' || compression === 'zstd') {
    return indexPacked(blob, compression, options)
  }
  throw new OcimountError(
    'COMPRESSION_UNSUPPORTED',
    `Cannot read layer ${blob.diffId}: it is packed with ${compression}; only gzip and zstd are supported`,
    { details: { compression } },
  )
}

function packedError({ diffId }: LayerBlob, compression: Compression): OcimountError {
  return new OcimountError(
    'IMAGE_UNSUPPORTED',
    `Cannot read layer ${diffId} directly: it is packed with ${compression}; mount it without --direct, or ` +
      'write the image with plain layers, as docker save and skopeo copy docker-archive: do',
    { details: { layer: diffId, compression } },
  )
}

/**
 * Refuses digests that nobody could verify before any work is done.
 *
 * @throws OcimountError `IMAGE_UNSUPPORTED`
 */
export function checkDigests({ digest, diffId }: LayerBlob): void {
  createDigestHash(diffId)
  if (digest !== undefined) createDigestHash(digest)
}

/**
 * Finds out what a blob is packed as.
 *
 * @throws OcimountError `SOURCE_CHANGED`, `STORAGE_FAILED`, and what `reach` throws
 */
export async function lookAt(
  { region }: LayerBlob,
  reach?: (size: number) => Promise<void>,
): Promise<Compression> {
  const handle = await openRegion(region)
  try {
    const head = { ...region, length: Math.min(region.length, DETECTION_LENGTH) }
    for await (const bytes of readRegion(handle, head, DETECTION_LENGTH, reach)) {
      return detectCompression(bytes)
    }
    // An empty blob is an empty layer (checklist B-139).
    return 'none'
  } finally {
    await handle.close()
  }
}

async function indexPlain(blob: LayerBlob, options: IndexLayerOptions): Promise<IndexedLayer> {
  const { region, digest, diffId } = blob
  // Checklist B-143. Digests of two algorithms are both computed when the layer is verified.
  if (digest !== undefined && digest !== diffId) {
    if (digestAlgorithm(digest) === digestAlgorithm(diffId)) {
      throw digestMismatch(`layer ${digest}, which is not compressed`, diffId, digest)
    }
  }
  const cached = await readToc(diffId, options.cache)
  if (cached !== undefined && cached.deviceSize !== region.length) {
    throw new OcimountError(
      'SIZE_MISMATCH',
      `Cannot use layer ${diffId}: it has ${region.length} bytes instead of ${cached.deviceSize}`,
      { details: { expected: cached.deviceSize, actual: region.length } },
    )
  }
  return {
    layerId: diffId,
    toc: cached ?? (await listPlain(blob, options)),
    verification: 'pending',
    openDevice: () => DirectDevice.open(region),
  }
}

async function listPlain(blob: LayerBlob, options: IndexLayerOptions): Promise<Toc> {
  const handle = await openRegion(blob.region)
  try {
    const toc = await hopToc(hopFile(handle, blob.region), options)
    await checkRegion(handle, blob.region)
    return toc
  } catch (error) {
    throw await explainByDigest(error, blob, options)
  } finally {
    await handle.close()
  }
}

async function indexPacked(
  blob: LayerBlob,
  compression: DecompressibleKind,
  options: IndexLayerOptions,
): Promise<IndexedLayer> {
  const { cache, signal } = options
  return cache.withLock(
    layerLock(blob.diffId),
    async () => {
      const known = await findIndexedLayer(blob, cache)
      if (known !== undefined) return { ...known, toc: await known.loadToc() }
      return {
        layerId: blob.diffId,
        toc: await unpackLayer(blob, compression, options),
        verification: 'verified' as const,
        openDevice: () => openData(blob, cache),
      }
    },
    { signal },
  )
}

async function openData(blob: LayerBlob, cache: Cache): Promise<LayerDevice> {
  const file = await openLayerData(blob, cache)
  if (file !== undefined) return file
  // Pruned, or dropped as corrupt, since somebody looked.
  const indexed = await indexLayer(blob, { cache })
  const again = await openLayerData(blob, cache)
  if (again !== undefined) return again
  if (indexed.verification === 'pending') return indexed.openDevice()
  throw new OcimountError(
    'STORAGE_FAILED',
    `Cannot open layer ${blob.diffId}: its data vanishes from the cache`,
  )
}

async function relistPlain(blob: LayerBlob, cache: Cache): Promise<Toc> {
  const toc = await listPlain(blob, { cache })
  await storeIfPossible('a toc', () =>
    cache.writeSealed(cache.tocPath(blob.diffId), encodeToc(toc)),
  )
  return toc
}

async function relistData(blob: LayerBlob, cache: Cache): Promise<Toc> {
  const device = await openData(blob, cache)
  let toc: Toc
  try {
    toc = await hopToc({
      size: device.size,
      read: (target, deviceOffset) => device.read(target, deviceOffset),
    })
  } finally {
    await device.close()
  }
  await storeIfPossible('a toc', () =>
    cache.writeSealed(cache.tocPath(blob.diffId), encodeToc(toc)),
  )
  return toc
}
