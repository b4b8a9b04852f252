// The OCI image layout as data: its header file and where it keeps blobs (image-spec image-layout.md).

import { OcimountError } from '../errors.js'
import { digestAlgorithm, digestHex, type Digest } from './digest.js'
import { FieldReader } from './field-reader.js'
import { parseJson } from './json.js'
import { MAX_LAYOUT_HEADER_SIZE } from './limits.js'
import { quote } from './quote.js'

/** Name of the header file, at the root of a layout. */
export const LAYOUT_HEADER_FILE = 'oci-layout'
/** Name of the index file, at the root of a layout. */
export const LAYOUT_INDEX_FILE = 'index.json'
/** Name of the directory that holds the blobs, at the root of a layout. */
export const LAYOUT_BLOBS_DIRECTORY = 'blobs'

export interface LayoutHeader {
  readonly imageLayoutVersion: '1.0.0'
}

/**
 * Parses the `oci-layout` file.
 *
 * @throws OcimountError `IMAGE_INVALID`, `LIMIT_EXCEEDED`; `IMAGE_UNSUPPORTED` for any other version than 1.0.0
 */
export function parseLayoutHeader(bytes: Uint8Array): LayoutHeader {
  const value = parseJson(bytes, 'oci-layout', { maxSize: MAX_LAYOUT_HEADER_SIZE })
  const version = new FieldReader(value, 'oci-layout', ['imageLayoutVersion']).string(
    'imageLayoutVersion',
  )
  if (version === '1.0.0') return { imageLayoutVersion: version }
  throw new OcimountError(
    'IMAGE_UNSUPPORTED',
    `Cannot read image layout of version ${quote(version)}: only 1.0.0 is supported`,
  )
}

/** Gives the path of a blob within a layout, with `/` between its parts. */
export function layoutBlobPath(digest: Digest): string {
  return `${LAYOUT_BLOBS_DIRECTORY}/${digestAlgorithm(digest)}/${digestHex(digest)}`
}
