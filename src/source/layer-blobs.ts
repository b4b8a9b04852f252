// Finds the stored bytes of an image's layers: regions of local files, none of which is read here.

import { escapeText } from '../byte-string.js'
import { OcimountError } from '../errors.js'
import type { Descriptor } from '../image/descriptor.js'
import { verifySize } from '../image/descriptor.js'
import type { Digest, DiffId } from '../image/digest.js'
import { createDigestHash, digestHex, isSupportedDigest } from '../image/digest.js'
import type { DockerArchiveItem } from '../image/docker-archive.js'
import type { Manifest } from '../image/manifest.js'
import { DOCKER_LAYER, layerSupport, unsupportedLayerReason } from '../image/media-types.js'
import { layoutBlobPath } from '../image/layout.js'
import type { LayerBlob } from '../layer/layer-blob.js'
import type { Documents } from './documents.js'
import { blobMissing } from './documents.js'
import { digestInName } from './image-documents.js'
import { MAX_LAYERS } from './limits.js'

/**
 * Finds the layers of a manifest.
 *
 * @throws OcimountError `IMAGE_UNSUPPORTED` for an encrypted or unknown layer, `IMAGE_INVALID` when config and
 *   manifest disagree on the number, `BLOB_MISSING`, `SIZE_MISMATCH`, `LIMIT_EXCEEDED`
 */
export async function findManifestLayers(
  documents: Documents,
  manifest: Manifest,
  diffIds: readonly DiffId[],
): Promise<LayerBlob[]> {
  for (const [index, descriptor] of manifest.layers.entries()) refuseForeignType(descriptor, index)
  checkCount(manifest.layers.length, diffIds.length)
  const blobs: LayerBlob[] = []
  for (const [index, descriptor] of manifest.layers.entries()) {
    const diffId = diffIds[index]
    if (diffId !== undefined)
      blobs.push(await findManifestLayer(documents, descriptor, index, diffId))
  }
  return blobs
}

/**
 * Finds the layers of an item of manifest.json.
 *
 * The stored bytes have no digest there, except where the name of the file is one.
 *
 * @throws OcimountError `IMAGE_INVALID`, `BLOB_MISSING`, `LIMIT_EXCEEDED`; as {@link Documents.tree}'s `find`
 */
export async function findItemLayers(
  documents: Documents,
  item: DockerArchiveItem,
  diffIds: readonly DiffId[],
): Promise<LayerBlob[]> {
  checkCount(item.layers.length, diffIds.length)
  const blobs: LayerBlob[] = []
  for (const [index, diffId] of diffIds.entries()) {
    blobs.push(await findItemLayer(documents, item, index, diffId))
  }
  return blobs
}

/**
 * Finds one layer of an item of manifest.json.
 *
 * @throws OcimountError as {@link findItemLayers}
 */
export async function findItemLayer(
  documents: Documents,
  item: DockerArchiveItem,
  index: number,
  diffId: DiffId,
): Promise<LayerBlob> {
  const name = item.layers[index] ?? ''
  refuseUnknownHash(diffId)
  const region = await documents.tree.find(name)
  if (region === undefined) {
    const what = `layer ${index} (${diffId}) in ${escapeText(name)}`
    throw blobMissing(documents.tree.path, what, diffId)
  }
  const stored = digestInName(name)
  const isBlob = stored !== undefined && name === layoutBlobPath(stored)
  const source = item.layerSources.get(diffId)
  if (isBlob && source?.digest === stored) {
    verifySize(region.length, source.size, `layer ${index} (${stored})`)
  }
  const digest = isBlob ? stored : undefined
  return { region, digest, diffId, mediaType: source?.mediaType ?? DOCKER_LAYER }
}

/**
 * Finds one layer of a manifest.
 *
 * @throws OcimountError `BLOB_MISSING`, `SIZE_MISMATCH`, `IMAGE_UNSUPPORTED` for a digest that cannot be computed
 */
export async function findManifestLayer(
  documents: Documents,
  descriptor: Descriptor,
  index: number,
  diffId: DiffId,
): Promise<LayerBlob> {
  const { digest, mediaType, size } = descriptor
  const what = `layer ${index} (${digest})`
  refuseUnknownHash(digest)
  refuseUnknownHash(diffId)
  const remote = documents.tree.layer?.(descriptor, diffId)
  if (remote !== undefined) return remote
  const region = await documents.locate(digest)
  if (region === undefined) {
    const isForeign = layerSupport(mediaType) === 'foreign-ok'
    const why = isForeign ? '; it is a non-distributable layer, which archives may leave out' : ''
    throw blobMissing(documents.tree.path, what, digest, why)
  }
  verifySize(region.length, size, what)
  return { region, digest, diffId, mediaType }
}

/** @throws OcimountError `IMAGE_UNSUPPORTED` for a layer from which no tree can be built */
export function refuseForeignType({ mediaType }: Descriptor, index: number): void {
  const why = unsupportedLayerReason(mediaType)
  if (why === undefined) return
  const message = `Cannot use layer ${index} of type ${escapeText(mediaType)}: ${why}`
  throw new OcimountError('IMAGE_UNSUPPORTED', message)
}

/**
 * Makes sure that every layer has one DiffID (checklist A-113, D-008).
 *
 * @throws OcimountError `IMAGE_INVALID`, `LIMIT_EXCEEDED`
 */
export function checkCount(layers: number, diffIds: number): void {
  if (layers > MAX_LAYERS) {
    const message = `Cannot use an image of ${layers} layers: the limit is ${MAX_LAYERS}`
    throw new OcimountError('LIMIT_EXCEEDED', message)
  }
  if (layers === diffIds) return
  const message = `Cannot use the image: it has ${layers} layers, but its config names ${diffIds} DiffIDs`
  throw new OcimountError('IMAGE_INVALID', message)
}

/** Content that cannot be verified is not consumed (checklist A-038). */
function refuseUnknownHash(digest: Digest): void {
  if (!isSupportedDigest(digest)) createDigestHash(digest)
}

/** Gives the file names that skopeo's `dir:` uses for a blob. */
export function dirBlobNames(digest: Digest): readonly string[] {
  return [digestHex(digest), digest.replace(':', '-'), `${digestHex(digest)}.manifest.json`]
}
