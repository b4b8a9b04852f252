// Blobs in the OCI image layout at the cache root: complete and verified, or not there.

import { join } from 'node:path'
import { OcimountError } from '../errors.js'
import {
  createDigestHash,
  digestAlgorithm,
  digestMismatch,
  finishDigest,
  type Digest,
} from '../image/digest.js'
import { spool, type ByteSource } from './spool.js'
import type { Staging } from './staging.js'

export interface PutBlobOptions {
  /** What the descriptor says; one byte more, or fewer in the end, is refused. */
  readonly size: number
  readonly signal?: AbortSignal | undefined
}

/**
 * Streams a blob into a staging directory, checks size and digest, and only then gives it its name.
 *
 * @throws OcimountError `SIZE_MISMATCH`, `DIGEST_MISMATCH`, `IMAGE_UNSUPPORTED`, `STORAGE_FULL`,
 *   `STORAGE_FAILED`, `INTERRUPTED`; and what the source throws
 */
export async function storeBlob(
  staging: Staging,
  place: { path: string; digest: Digest },
  source: ByteSource,
  options: PutBlobOptions,
): Promise<void> {
  const { path, digest } = place
  const hash = createDigestHash(digest)
  const size = await spool(source, join(staging.path, BLOB_NAME), {
    signal: options.signal,
    onChunk: (chunk, end) => {
      if (end > options.size) throw sizeMismatch(digest, options.size, `at least ${end}`)
      hash.update(chunk)
    },
  })
  if (size !== options.size) throw sizeMismatch(digest, options.size, String(size))
  const actual = finishDigest(hash, digestAlgorithm(digest))
  if (actual !== digest) throw digestMismatch(`blob ${digest}`, digest, actual)
  await staging.publish(BLOB_NAME, path)
}

const BLOB_NAME = 'blob'

function sizeMismatch(digest: Digest, expected: number, actual: string): OcimountError {
  return new OcimountError(
    'SIZE_MISMATCH',
    `Cannot use blob ${digest}: it has ${actual} bytes instead of ${expected}`,
    { details: { digest, expected, actual } },
  )
}
