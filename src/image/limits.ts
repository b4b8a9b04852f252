// How large a document may be. Registries should take manifests of 4 MB (distribution-spec), so we take twice that;
// a document that announces more is refused before a byte of it is read (checklist A-110).

import { OcimountError } from '../errors.js'

const MIB = 1024 * 1024

/** Largest manifest or image index, in bytes. */
export const MAX_MANIFEST_SIZE = 8 * MIB
/** Largest image config, in bytes. */
export const MAX_CONFIG_SIZE = 8 * MIB
/** Largest `manifest.json` of a docker-archive, in bytes; it lists every image of the archive. */
export const MAX_DOCKER_MANIFEST_SIZE = 8 * MIB
/** Largest `oci-layout` file, in bytes; it holds one version number. */
export const MAX_LAYOUT_HEADER_SIZE = 64 * 1024

/**
 * Refuses a document by the size that a descriptor or an archive header announces for it.
 *
 * @param what names the document, such as `manifest sha256:…`
 * @throws OcimountError `LIMIT_EXCEEDED`
 */
export function checkDocumentSize(size: number, limit: number, what: string): void {
  if (size <= limit) return
  throw new OcimountError(
    'LIMIT_EXCEEDED',
    `Cannot read ${what}: ${size} bytes are more than the ${limit} that such a document may have`,
  )
}
