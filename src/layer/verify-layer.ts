// Verifies a plain layer in a local file: hashes it and, when it is right, says so in the cache, for every later mount.

import type { Cache } from '../cache/cache.js'
import { isOcimountError, OcimountError } from '../errors.js'
import type { Digest } from '../image/digest.js'
import type { LayerBlob } from './layer-blob.js'
import { storeIfPossible } from './layer-store.js'
import { runLayerTask, type LayerProgress, type TaskOptions } from './run-worker.js'
import { encodeToc } from './toc-file.js'
import type { Toc } from './toc.js'

export interface VerifyLayerOptions {
  readonly cache: Cache
  /** What {@link indexLayer} gave for this blob. */
  readonly toc: Toc
  /** Called about ten times a second. */
  readonly onProgress?: ((progress: LayerProgress) => void) | undefined
  readonly signal?: AbortSignal | undefined
}

/**
 * Hashes the bytes of a plain layer in a worker, at the speed of the disk or of SHA-256, whichever is less.
 *
 * When they are right, the toc and the fact that this stretch of this file is that layer go into the cache. A cache
 * that cannot be written is logged, and the layer is verified all the same.
 *
 * @throws OcimountError `DIGEST_MISMATCH`, `SOURCE_CHANGED`, `STORAGE_FAILED`, `INTERRUPTED`, `IMAGE_UNSUPPORTED`
 */
export async function verifyLayer(blob: LayerBlob, options: VerifyLayerOptions): Promise<void> {
  const { region, digest, diffId } = blob
  const { cache, toc } = options
  await hash(blob, options)
  await storeIfPossible('what was verified', async () => {
    await cache.writeSealed(cache.tocPath(diffId), encodeToc(toc))
    const { offset, length } = region
    await cache.mergeArchiveRecord(region.identity, [
      { form: 'plain', offset, length, digest, diffId },
    ])
  })
}

/**
 * Gives the reason why a plain layer could not be listed: bytes that are not the right ones explain everything else.
 */
export async function explainByDigest(
  error: unknown,
  blob: LayerBlob,
  options: TaskOptions,
): Promise<unknown> {
  if (!isOcimountError(error, 'TAR_CORRUPT', 'LAYER_CORRUPT', 'LIMIT_EXCEEDED')) return error
  try {
    await hash(blob, options)
    return error
  } catch (mismatch) {
    if (!isOcimountError(mismatch, 'DIGEST_MISMATCH')) return mismatch
    const { code, message, details } = mismatch
    return new OcimountError(code, message, { cause: error, details })
  }
}

async function hash({ region, digest, diffId }: LayerBlob, options: TaskOptions): Promise<void> {
  const expected: Digest[] = [diffId]
  if (digest !== undefined && digest !== diffId) expected.push(digest)
  const { onProgress, signal } = options
  await runLayerTask({ kind: 'hash', region, expected }, { onProgress, signal })
}
