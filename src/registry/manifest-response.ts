// A manifest or index as a registry sends it: its bytes, and what is said of them.

import { OcimountError } from '../errors.js'
import {
  digestMismatch,
  digestOf,
  digestProblem,
  isSupportedDigest,
  parseDigest,
  verifyDigest,
  type Digest,
} from '../image/digest.js'
import { MAX_MANIFEST_SIZE } from '../image/limits.js'
import {
  DOCKER_MANIFEST,
  DOCKER_MANIFEST_LIST,
  normalizeMediaType,
  OCI_INDEX,
  OCI_MANIFEST,
} from '../image/media-types.js'
import { refuseEncoding } from './response-checks.js'
import { readBody, type HttpResponse } from './transport.js'

/** A manifest or index as a registry gave it. */
export interface FetchedManifest {
  readonly bytes: Buffer
  /** Computed from the bytes. */
  readonly digest: Digest
  /** What the registry says that it is; undefined where it says nothing of use. */
  readonly mediaType: string | undefined
}

/** For `Accept`. One header, indexes first: some registries read no further than its beginning (checklist E-022). */
export const MANIFEST_TYPES = [OCI_INDEX, DOCKER_MANIFEST_LIST, OCI_MANIFEST, DOCKER_MANIFEST].join(
  ', ',
)

/**
 * Reads an answer to the question for a manifest. `what` follows "Cannot ".
 *
 * @throws OcimountError `DIGEST_MISMATCH`, `LIMIT_EXCEEDED`; RegistryError for a packed body; as {@link readBody}
 */
export async function readManifest(
  response: HttpResponse,
  digest: Digest | undefined,
  what: string,
): Promise<FetchedManifest> {
  refuseEncoding(response, what)
  const bytes = await readBody(response, MAX_MANIFEST_SIZE)
  if (bytes === undefined) {
    const why = `it is larger than the ${MAX_MANIFEST_SIZE} bytes that a manifest may have`
    throw new OcimountError('LIMIT_EXCEEDED', `Cannot ${what}: ${why}`)
  }
  if (digest !== undefined) verifyDigest(bytes, digest, `manifest ${digest}`)
  else checkStatedDigest(bytes, response.header('docker-content-digest'))
  const type = normalizeMediaType(response.header('content-type') ?? '')
  return {
    bytes,
    digest: digest ?? digestOf(bytes),
    mediaType: type === '' || VAGUE_TYPES.has(type) ? undefined : type,
  }
}

/** A header that is there has to be right, whatever it is good for (checklist E-026). */
function checkStatedDigest(bytes: Buffer, header: string | undefined): void {
  if (header === undefined || digestProblem(header) !== undefined) return
  const stated = parseDigest(header)
  if (!isSupportedDigest(stated)) return
  const actual = digestOf(bytes, stated.slice(0, stated.indexOf(':')))
  if (actual !== stated) throw digestMismatch('the manifest that the registry sent', stated, actual)
}

/** Types that say nothing: the document has to. */
const VAGUE_TYPES: ReadonlySet<string> = new Set([
  'application/json',
  'application/octet-stream',
  'text/plain',
])
