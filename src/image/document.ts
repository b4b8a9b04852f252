// What manifest and index have in common: the head that says which of the two a document is, and the checks that
// it cannot be taken for the other one (CVE-2021-41190; checklist ).

import { OcimountError } from '../errors.js'
import { parseDescriptor, readArtifactType, type Descriptor } from './descriptor.js'
import { FieldReader, invalidValue, type Tolerate } from './field-reader.js'
import { parseJson } from './json.js'
import { MAX_MANIFEST_SIZE } from './limits.js'
import {
  classifyMediaType,
  OCI_INDEX,
  OCI_MANIFEST,
  unsupportedManifestReason,
  type MediaTypeRole,
} from './media-types.js'
import { quote } from './quote.js'

export type DocumentRole = 'manifest' | 'index'

export interface DocumentOptions {
  /** Turns every deviation from the specification into an error, also those that a mount can live with. */
  readonly strict?: boolean
}

/** The fields that manifest and index share. */
export interface DocumentHead {
  /** As the document or, where it has none, the one who fetched it says. */
  readonly mediaType: string
  readonly annotations: ReadonlyMap<string, string>
  readonly subject?: Descriptor
  readonly artifactType?: string
  /** Deviations from the specification that do not matter to a mount. */
  readonly warnings: readonly string[]
}

/**
 * Opens a document and tells which of the two it is.
 *
 * What it was fetched as decides, then its own `mediaType`, then its fields; all that are there must agree.
 *
 * @throws OcimountError `IMAGE_INVALID`, `LIMIT_EXCEEDED`; `IMAGE_UNSUPPORTED` for schema 1 and artifact manifests
 */
export function openDocument(
  bytes: Uint8Array,
  what: string,
  expectedMediaType: string | undefined,
): { fields: FieldReader; role: DocumentRole; mediaType: string } {
  if (expectedMediaType !== undefined) roleOfType(expectedMediaType, what)
  const value = parseJson(bytes, what, { maxSize: MAX_MANIFEST_SIZE })
  const fields = new FieldReader(value, what, DOCUMENT_FIELDS)
  const ownType = fields.optionalString('mediaType')
  const ownRole = ownType === undefined ? undefined : roleOfType(ownType, what)
  if (fields.has('fsLayers') && fields.get('schemaVersion') === 1)
    throw unsupported('schema1', what)
  if (fields.required('schemaVersion') !== 2) {
    throw invalidValue(fields.at('schemaVersion'), 'must be the number 2')
  }
  if (ownType !== undefined && expectedMediaType !== undefined && ownType !== expectedMediaType) {
    throw invalidValue(
      fields.at('mediaType'),
      `is ${quote(ownType)}, but the document was referred to as ${quote(expectedMediaType)}`,
    )
  }
  const expectedRole =
    expectedMediaType === undefined ? undefined : roleOfType(expectedMediaType, what)
  const role = expectedRole ?? ownRole ?? (fields.has('manifests') ? 'index' : 'manifest')
  refuseForeignFields(fields, role)
  const mediaType = ownType ?? expectedMediaType ?? (role === 'index' ? OCI_INDEX : OCI_MANIFEST)
  return { fields, role, mediaType }
}

/** Reads what both documents share. */
export function readHead(
  fields: FieldReader,
  mediaType: string,
  warnings: readonly string[],
  tolerate: Tolerate,
): DocumentHead {
  const subject = fields.get('subject')
  const artifactType = readArtifactType(fields)
  return {
    mediaType,
    annotations: fields.stringMap('annotations'),
    ...(subject === undefined
      ? {}
      : { subject: parseDescriptor(subject, fields.at('subject'), tolerate) }),
    ...(artifactType === undefined ? {} : { artifactType }),
    warnings,
  }
}

function roleOfType(mediaType: string, what: string): DocumentRole {
  const role = classifyMediaType(mediaType)
  if (role === 'manifest' || role === 'index') return role
  if (unsupportedManifestReason(role) !== undefined) throw unsupported(role, what)
  throw new OcimountError(
    'IMAGE_UNSUPPORTED',
    `Cannot parse ${what}: ${quote(mediaType)} is neither an image manifest nor an image index`,
  )
}

function unsupported(role: MediaTypeRole, what: string): OcimountError {
  const reason = unsupportedManifestReason(role) ?? 'it is not supported'
  return new OcimountError('IMAGE_UNSUPPORTED', `Cannot parse ${what}: ${reason}`)
}

function refuseForeignFields(fields: FieldReader, role: DocumentRole): void {
  for (const name of FOREIGN_FIELDS[role]) {
    if (fields.has(name)) {
      throw invalidValue(fields.at(name), `does not belong into an image ${role}`)
    }
  }
}

/** Fields by which some reader might take the document for another kind of document. */
const FOREIGN_FIELDS: Readonly<Record<DocumentRole, readonly string[]>> = {
  manifest: ['manifests', 'fsLayers', 'history'],
  index: ['config', 'layers', 'fsLayers', 'history'],
}
const DOCUMENT_FIELDS = [
  'schemaVersion',
  'mediaType',
  'config',
  'layers',
  'manifests',
  'annotations',
  'subject',
  'artifactType',
  'fsLayers',
  'history',
  'signatures',
]
