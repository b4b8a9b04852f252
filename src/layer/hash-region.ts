// Hashes a stretch of a file and compares: the whole of verifying a plain layer.

import { createDigestHash, digestAlgorithm, digestMismatch, finishDigest } from '../image/digest.js'
import { checkRegion, openRegion, readRegion } from './blob-file.js'
import type { TaskContext } from './task-context.js'
import type { HashTask } from './worker-messages.js'

/** Big reads, one ahead: the disk works while the processor hashes. */
const CHUNK_SIZE = 1024 * 1024

/**
 * Checks that a region has all of the expected digests.
 *
 * @throws OcimountError `DIGEST_MISMATCH`, `SOURCE_CHANGED`, `STORAGE_FAILED`, `INTERRUPTED`, `IMAGE_UNSUPPORTED`
 */
export async function hashRegion(
  { region, expected }: HashTask,
  context: TaskContext,
): Promise<void> {
  const hashes = expected.map((digest) => ({ digest, hash: createDigestHash(digest) }))
  const handle = await openRegion(region)
  try {
    let done = 0
    for await (const chunk of readRegion(handle, region, CHUNK_SIZE)) {
      context.throwIfAborted()
      for (const { hash } of hashes) hash.update(chunk)
      done += chunk.length
      context.report(done)
    }
    // After the last byte, so that what was hashed is the file that has this identity.
    await checkRegion(handle, region)
  } finally {
    await handle.close()
  }
  for (const { digest, hash } of hashes) {
    const actual = finishDigest(hash, digestAlgorithm(digest))
    if (actual !== digest) throw digestMismatch(`layer ${digest}`, digest, actual)
  }
}
