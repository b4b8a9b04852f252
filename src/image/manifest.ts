// Image manifests: one config and its layers (image-spec manifest.md; Docker image manifest version 2, schema 2).

import { parseDescriptor, type Descriptor } from './descriptor.js'
import { openDocument, readHead, type DocumentHead, type DocumentOptions } from './document.js'
import { collectWarnings, invalidValue, locationOf, type FieldReader } from './field-reader.js'
import { classifyMediaType } from './media-types.js'
import { quote } from './quote.js'

export interface Manifest extends DocumentHead {
  readonly config: Descriptor
  /** Base first. */
  readonly layers: readonly Descriptor[]
}

/**
 * Parses a manifest whose bytes were verified before.
 *
 * @param expectedMediaType what the descriptor or the registry said that it is; the document must agree
 * @throws OcimountError `IMAGE_INVALID`, `LIMIT_EXCEEDED`; `IMAGE_UNSUPPORTED` for schema 1 and artifact
 *   manifests; `SIZE_MISMATCH` or `DIGEST_MISMATCH` for embedded data
 */
export function parseManifest(
  bytes: Uint8Array,
  expectedMediaType?: string,
  options: DocumentOptions = {},
): Manifest {
  const { fields, role, mediaType } = openDocument(bytes, 'manifest', expectedMediaType)
  if (role !== 'manifest') throw invalidValue('manifest', 'is an image index')
  return readManifest(fields, mediaType, options)
}

/** Reads a manifest out of a document that is known to be one. */
export function readManifest(
  fields: FieldReader,
  mediaType: string,
  options: DocumentOptions,
): Manifest {
  const warnings: string[] = []
  const tolerate = collectWarnings(options.strict ?? false, warnings)
  const config = parseDescriptor(fields.required('config'), fields.at('config'), tolerate)
  const location = fields.at('layers')
  const layers = fields
    .array('layers')
    .map((value, index) => parseDescriptor(value, locationOf(location, index), tolerate))
  if (layers.length === 0) tolerate(location, 'is empty')
  refuseContradictions(fields, [config, ...layers])
  const manifest = { ...readHead(fields, mediaType, warnings, tolerate), config, layers }
  if (classifyMediaType(config.mediaType) === 'empty' && manifest.artifactType === undefined) {
    tolerate(fields.at('artifactType'), 'is missing, although the config is the empty one')
  }
  return manifest
}

/** Gives what an artifact is: its `artifactType` or, by older usage, the media type of its config. */
export function artifactTypeOf(manifest: Manifest): string {
  return manifest.artifactType ?? manifest.config.mediaType
}

/**
 * Says why the manifest cannot be mounted as an image; undefined when it can.
 *
 * A config of an unknown media type is opaque and never parsed (image-spec manifest.md; checklist A-004).
 */
export function notAnImageReason(manifest: Manifest): string | undefined {
  switch (classifyMediaType(manifest.config.mediaType)) {
    case 'config':
      return undefined
    case 'plugin-config':
      return 'it is a Docker plugin, not an image'
    default:
      return `it is an artifact of type ${quote(artifactTypeOf(manifest))}, not an image`
  }
}

/** All blobs of a manifest are needed, so that two sizes for one digest can never both be met (checklist A-056). */
function refuseContradictions(fields: FieldReader, descriptors: readonly Descriptor[]): void {
  const sizes = new Map<string, number>()
  for (const { digest, size } of descriptors) {
    const other = sizes.get(digest) ?? size
    if (other !== size) {
      throw invalidValue(fields.location, `gives ${digest} the sizes ${other} and ${size}`)
    }
    sizes.set(digest, size)
  }
}
