// Image indexes: a list of manifests, each for a platform (image-spec image-index.md; Docker manifest list).

import { parseDescriptor, type Descriptor } from './descriptor.js'
import { openDocument, readHead, type DocumentHead, type DocumentOptions } from './document.js'
import { collectWarnings, invalidValue, locationOf, type FieldReader } from './field-reader.js'
import { readManifest, type Manifest } from './manifest.js'

export interface ImageIndex extends DocumentHead {
  /** In the order of the document; types that nobody knows are among them (checklist A-087). */
  readonly manifests: readonly Descriptor[]
}

/**
 * Parses an index whose bytes were verified before; `index.json` of a layout needs no verification.
 *
 * @param expectedMediaType what the descriptor or the registry said that it is; the document must agree
 * @throws OcimountError `IMAGE_INVALID`, `LIMIT_EXCEEDED`, `IMAGE_UNSUPPORTED`; `SIZE_MISMATCH` or
 *   `DIGEST_MISMATCH` for embedded data
 */
export function parseImageIndex(
  bytes: Uint8Array,
  expectedMediaType?: string,
  options: DocumentOptions = {},
): ImageIndex {
  const { fields, role, mediaType } = openDocument(bytes, 'image index', expectedMediaType)
  if (role !== 'index') throw notAnIndex(fields)
  return readImageIndex(fields, mediaType, options)
}

/**
 * Parses a document that may be either; decided by what it was fetched as, then by its own `mediaType`, and
 * only then by its fields (checklist ). Throws as {@link parseManifest} does.
 */
export function parseManifestOrIndex(
  bytes: Uint8Array,
  expectedMediaType?: string,
  options: DocumentOptions = {},
): { readonly manifest: Manifest } | { readonly index: ImageIndex } {
  const { fields, role, mediaType } = openDocument(bytes, 'manifest', expectedMediaType)
  return role === 'manifest'
    ? { manifest: readManifest(fields, mediaType, options) }
    : { index: readImageIndex(fields, mediaType, options) }
}

function readImageIndex(
  fields: FieldReader,
  mediaType: string,
  options: DocumentOptions,
): ImageIndex {
  const warnings: string[] = []
  const tolerate = collectWarnings(options.strict ?? false, warnings)
  const location = fields.at('manifests')
  const manifests = fields
    .array('manifests')
    .map((value, index) => parseDescriptor(value, locationOf(location, index), tolerate))
  return { ...readHead(fields, mediaType, warnings, tolerate), manifests }
}

function notAnIndex(fields: FieldReader): Error {
  if (fields.has('layers') || fields.has('config')) {
    return invalidValue(fields.location, 'is an image manifest')
  }
  return invalidValue(fields.at('manifests'), 'is missing')
}
