// The merged tree as a file: loaded from the cache, or made of the layers' tocs and published there.

import type { Cache } from '../cache/cache.js'
import { ErofsImage } from '../erofs/reader.js'
import { writeErofs } from '../erofs/writer.js'
import { isOcimountError, messageOf, OcimountError } from '../errors.js'
import type { Toc } from '../layer/toc.js'
import { log } from '../logger.js'
import { applyLayers, type StackedLayer } from './apply-layers.js'
import type { PreparedLayer } from './prepare-layers.js'
import { decodeRootfsFile, encodeRootfsFile, type RootfsInfo } from './rootfs-file.js'

/** A merged tree and the file that holds it. */
export interface OpenTree {
  readonly bytes: Buffer
  readonly image: ErofsImage
  readonly info: RootfsInfo
}

/** The tree in the cache. A sealed file that is not what this writer makes was put there by something else; it is made again. */
export async function loadTree(cache: Cache, path: string): Promise<OpenTree | undefined> {
  const bytes = await cache.readSealed(path)
  if (bytes === undefined) return undefined
  try {
    return openTree(bytes)
  } catch (error) {
    if (!isOcimountError(error, 'CACHE_CORRUPT')) throw error
    log.warn({ path }, `${messageOf(error)}; making it again`)
    return undefined
  }
}

/** Applies the layers in order, base first, with one on top that is of no image, and writes the tree, into memory. */
export async function makeTree(
  layerIds: readonly string[],
  layers: readonly PreparedLayer[],
  top?: StackedLayer,
): Promise<OpenTree> {
  const tocs = new Map<string, Toc>()
  for (const layer of layers) tocs.set(layer.layerId, await layer.loadToc())
  if (top !== undefined) tocs.set(top.layerId, top.toc)
  const stack = layerIds.map((layerId) => {
    const toc = tocs.get(layerId)
    if (toc === undefined) {
      throw new OcimountError('INTERNAL', `Cannot merge layer ${layerId}: it was not indexed`)
    }
    return { layerId, toc }
  })
  const applied = applyLayers(stack)
  const { image } = writeErofs(applied.root, [
    ...applied.devices.map(({ layerId, size }) => ({ tag: deviceTag(layerId), size })),
    ...(applied.virtual.size > 0 ? [{ tag: 'virtual', size: applied.virtual.size }] : []),
  ])
  return openTree(Buffer.concat(encodeRootfsFile(image, applied)))
}

// A slot of EROFS's device table has 64 bytes for a name: the hex digits of a sha256.
function deviceTag(layerId: string): string {
  return layerId.slice(layerId.lastIndexOf(':') + 1).slice(0, 64)
}

/** Puts a tree into the cache. A full or failing disk keeps no image from being served: it is only slower next time. */
export async function publishTree(cache: Cache, path: string, bytes: Buffer): Promise<void> {
  try {
    await cache.writeSealed(path, [bytes])
  } catch (error) {
    if (!isOcimountError(error, 'STORAGE_FULL', 'STORAGE_FAILED')) throw error
    log.warn({ cause: messageOf(error) }, 'the merged tree is not kept in the cache')
  }
}

function openTree(bytes: Buffer): OpenTree {
  const { image, info } = decodeRootfsFile(bytes)
  return { bytes, image: new ErofsImage(image), info }
}
