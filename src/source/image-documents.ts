// Manifest and config of one image, read, verified and parsed; from a manifest's descriptor or from an item
// of a docker-archive's manifest.json, which has no manifest.

import { escapeText } from '../byte-string.js'
import { OcimountError } from '../errors.js'
import type { Descriptor } from '../image/descriptor.js'
import type { Digest } from '../image/digest.js'
import { digestOf, parseDigest, verifyDigest } from '../image/digest.js'
import type { DockerArchiveItem } from '../image/docker-archive.js'
import type { ImageConfig } from '../image/image-config.js'
import { parseImageConfig } from '../image/image-config.js'
import { MAX_CONFIG_SIZE, MAX_MANIFEST_SIZE } from '../image/limits.js'
import type { Manifest } from '../image/manifest.js'
import { notAnImageReason, parseManifest } from '../image/manifest.js'
import { classifyMediaType, layerSupport, unsupportedManifestReason } from '../image/media-types.js'
import type { Documents } from './documents.js'

export interface ManifestDocument {
  readonly manifest: Manifest
  readonly bytes: Buffer
  readonly digest: Digest
}

export interface ConfigDocument {
  readonly config: ImageConfig
  readonly bytes: Buffer
  /** The image id. */
  readonly digest: Digest
}

/**
 * Reads a manifest.
 *
 * @throws OcimountError `IMAGE_UNSUPPORTED` when the descriptor's media type is no image manifest's;
 *   `IMAGE_INVALID`; as {@link Documents.read}
 */
export async function readManifest(
  documents: Documents,
  descriptor: Descriptor,
): Promise<ManifestDocument> {
  const role = classifyMediaType(descriptor.mediaType)
  if (role !== 'manifest') {
    const type = escapeText(descriptor.mediaType)
    const why = unsupportedManifestReason(role) ?? `its media type ${type} is not an image's`
    const message = `Cannot use ${descriptor.digest} as an image: ${why}`
    throw new OcimountError('IMAGE_UNSUPPORTED', message)
  }
  const bytes = await documents.read(descriptor, MAX_MANIFEST_SIZE, 'manifest')
  return {
    manifest: parseManifest(bytes, descriptor.mediaType),
    bytes,
    digest: descriptor.digest,
  }
}

/**
 * Tells whether a manifest describes a filesystem, and not a signature, a chart or another artifact.
 *
 * Signatures of cosign come with an image's config but not with an image's layers.
 */
export function isImageManifest(manifest: Manifest): boolean {
  if (notAnImageReason(manifest) !== undefined) return false
  const { layers } = manifest
  return layers.length === 0 || layers.some((layer) => layerSupport(layer.mediaType) !== 'unknown')
}

/**
 * Reads the config that a manifest names; one of an unknown media type is not even read (checklist A-004).
 *
 * @throws OcimountError `IMAGE_UNSUPPORTED` for an artifact, `IMAGE_INVALID`; as {@link Documents.read}
 */
export async function readConfig(
  documents: Documents,
  { manifest, digest }: ManifestDocument,
): Promise<ConfigDocument> {
  const why = notAnImageReason(manifest)
  if (why !== undefined) {
    throw new OcimountError('IMAGE_UNSUPPORTED', `Cannot use ${digest} as an image: ${why}`)
  }
  const bytes = await documents.read(manifest.config, MAX_CONFIG_SIZE, 'config')
  return { config: parseImageConfig(bytes), bytes, digest: manifest.config.digest }
}

/**
 * Reads the config that an item of manifest.json names.
 *
 * Its digest, the image id, is computed; where the name holds a digest as well, both must agree (checklist D-003).
 *
 * @throws OcimountError `DIGEST_MISMATCH`, `IMAGE_INVALID`, `LIMIT_EXCEEDED`; as {@link Documents.readNamed}
 */
export async function readItemConfig(
  documents: Documents,
  item: DockerArchiveItem,
): Promise<ConfigDocument> {
  const name = escapeText(item.config)
  const bytes = await documents.readNamed(item.config, MAX_CONFIG_SIZE)
  if (bytes === undefined) {
    const path = escapeText(documents.tree.path)
    const message = `Cannot read config ${name}: it is missing in ${path}`
    throw new OcimountError('IMAGE_INVALID', message)
  }
  const named = digestInName(item.config)
  if (named !== undefined) verifyDigest(bytes, named, `config ${name}`)
  return { config: parseImageConfig(bytes), bytes, digest: named ?? digestOf(bytes) }
}

/** Gives the digest that a file's name holds: `<hex>.json`, `<hex>`, `sha256:<hex>` or `blobs/sha256/<hex>`. */
export function digestInName(name: string): Digest | undefined {
  const hex = /(?:^|[/:])([0-9a-f]{64})(?:\.json)?$/.exec(name)?.[1]
  return hex === undefined ? undefined : parseDigest(`sha256:${hex}`)
}
