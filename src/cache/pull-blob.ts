// Brings a blob in from somewhere slow: once for all processes that want it, going on where the last attempt ended, and under
// its name only when size and digest are right.

import { lstat, rm } from 'node:fs/promises'
import { OcimountError } from '../errors.js'
import { digestMismatch, type Digest } from '../image/digest.js'
import { log } from '../logger.js'
import type { Cache } from './cache.js'
import { PartialBlob, partialSize } from './partial-blob.js'
import { interruptedError, isMissing, storageError } from './storage-error.js'

export interface PullBlobOptions {
  /** What the descriptor says. */
  readonly size: number
  /** Gives the bytes from an offset to the end, as they come. */
  readonly read: (offset: number) => AsyncIterable<Uint8Array>
  /** Called when all of the bytes came and were wrong: gives true when another attempt may get other ones. */
  readonly onMismatch: () => Promise<boolean>
  /** Called with the bytes that are there, also while another process fetches them. */
  readonly onProgress?: ((done: number) => void) | undefined
  readonly signal?: AbortSignal | undefined
}

/**
 * Makes sure that the cache has a blob. One of the wrong size does not count.
 *
 * @throws OcimountError `SIZE_MISMATCH`, `DIGEST_MISMATCH`, `IMAGE_UNSUPPORTED`, `STORAGE_FULL`, `STORAGE_FAILED`,
 *   `CACHE_LOCKED`, `INTERRUPTED`; and what the source throws
 */
export async function pullBlob(
  cache: Cache,
  digest: Digest,
  options: PullBlobOptions,
): Promise<void> {
  if (await isThere(cache.blobPath(digest), options.size)) return
  const directory = cache.partialPath(digest)
  // From here on nobody prunes what we are about to make.
  const pin = await cache.pin([directory, cache.blobPath(digest)])
  const watch = setInterval(() => {
    partialSize(directory).then(options.onProgress, () => undefined)
  }, WATCH_MS).unref()
  try {
    await cache.withLock(
      `blob-${digest}`,
      async () => {
        clearInterval(watch)
        if (await isThere(cache.blobPath(digest), options.size)) return
        await fetch(cache, digest, directory, options)
      },
      { signal: options.signal, timeoutMs: LONGEST_PULL_MS },
    )
  } finally {
    clearInterval(watch)
    await pin.release()
  }
}

async function fetch(
  cache: Cache,
  digest: Digest,
  directory: string,
  options: PullBlobOptions,
): Promise<void> {
  const { size, onProgress, onMismatch } = options
  const partial = await PartialBlob.open(directory, digest, size)
  let isPlaced = false
  try {
    for (;;) {
      const isResumed = partial.size > 0
      onProgress?.(partial.size)
      await append(partial, digest, options)
      const actual = partial.finishDigest()
      if (actual === digest) break
      await partial.reset()
      log.warn({ digest, actual, isResumed }, 'the bytes of a blob were wrong and are thrown away')
      // What a power cut has left of an earlier attempt may be wrong where what is sent is right.
      if (!isResumed && !(await onMismatch())) {
        throw digestMismatch(`blob ${digest}`, digest, actual)
      }
    }
    await partial.place(cache.blobPath(digest))
    isPlaced = true
  } finally {
    if (!isPlaced) await partial.leave()
  }
}

async function append(
  partial: PartialBlob,
  digest: Digest,
  { size, read, onProgress, signal }: PullBlobOptions,
): Promise<void> {
  if (partial.size === size) return
  let toldMs = 0
  for await (const chunk of read(partial.size)) {
    if (signal?.aborted === true) throw interruptedError('pull', digest, signal.reason)
    if (partial.size + chunk.length > size) throw sizeMismatch(digest, size, 'more')
    await partial.append(chunk)
    if (performance.now() - toldMs < TELL_MS) continue
    toldMs = performance.now()
    onProgress?.(partial.size)
  }
  if (partial.size < size) throw sizeMismatch(digest, size, String(partial.size))
  onProgress?.(size)
}

/** One of another size is what somebody has cut or changed: it goes. */
async function isThere(path: string, size: number): Promise<boolean> {
  try {
    const stats = await lstat(path)
    if (stats.isFile() && stats.size === size) return true
    log.warn({ path }, 'removed a blob of the wrong size from the cache')
    await rm(path, { recursive: true, force: true })
    return false
  } catch (error) {
    if (isMissing(error)) return false
    throw storageError(error, 'look at', path)
  }
}

function sizeMismatch(digest: Digest, expected: number, actual: string): OcimountError {
  const message = `Cannot use blob ${digest}: it has ${actual} bytes instead of ${expected}`
  return new OcimountError('SIZE_MISMATCH', message, { details: { digest, expected, actual } })
}

const WATCH_MS = 200
/** Between two calls of onProgress, which may cross to another process. */
const TELL_MS = 100
/** A process that fetches is alive, however slow; its lock tells. */
const LONGEST_PULL_MS = 24 * 3600 * 1000
