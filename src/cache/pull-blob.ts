// Brings a blob in from somewhere slow: once for all processes that want it, going on where the last attempt ended, and under
// its name only when size and digest are right.

import { lstat, rm } from 'node:fs/promises'
import { OcimountError } from '../errors.js'
import { digestMismatch, type Digest } from '../image/digest.js'
import { log } from '../logger.js'
import { Follower, type Follow } from './arrival.js'
import type { Cache } from './cache.js'
import { PartialBlob } from './partial-blob.js'
import { partialSize } from './partial-names.js'
import { interruptedError, isMissing, storageError } from './storage-error.js'

export interface PullBlobOptions {
  /** What the descriptor says. */
  readonly size: number
  /** Gives the bytes from an offset to the end, as they come. */
  readonly read: (offset: number) => AsyncIterable<Uint8Array>
  /** Called when all of the bytes came and were wrong: gives true when another attempt may get other ones. */
  readonly onMismatch: () => Promise<boolean>
  /**
   * Reads the bytes while they come, where they do: once for each attempt to get all of them. The lock on the blob is held
   * until it has ended, and what it throws is thrown.
   */
  readonly follow?: Follow | undefined
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
  const directory = cache.partialPath(digest)
  // A second name is taken away in a moment, and whoever compares identities would call that a change.
  if ((await find(cache.blobPath(digest), options.size)) === 'whole') {
    await dropPartial(cache, digest)
    return
  }
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
        if ((await find(cache.blobPath(digest), options.size)) !== 'none') {
          await rm(directory, { recursive: true, force: true })
          return
        }
        await fetch(cache, digest, directory, options)
      },
      { signal: options.signal, timeoutMs: LONGEST_PULL_MS },
    )
  } finally {
    clearInterval(watch)
    await pin.release()
  }
}

/** Removes what a process has left of a blob that is there: it was killed when the blob had its name already. Never rejects. */
export async function dropPartial(cache: Cache, digest: Digest): Promise<void> {
  await rm(cache.partialPath(digest), { recursive: true, force: true }).catch(() => undefined)
}

async function fetch(
  cache: Cache,
  digest: Digest,
  directory: string,
  options: PullBlobOptions,
): Promise<void> {
  const { size, onProgress, onMismatch } = options
  const partial = await PartialBlob.open(directory, digest, size)
  const path = cache.blobPath(digest)
  try {
    for (;;) {
      const isResumed = partial.size > 0
      onProgress?.(partial.size)
      const actual = await attempt(partial, { ...options, digest, path })
      if (actual === digest) return
      await partial.reset()
      log.warn({ digest, actual, isResumed }, 'the bytes of a blob were wrong and are thrown away')
      // What a power cut has left of an earlier attempt may be wrong where what is sent is right.
      if (!isResumed && !(await onMismatch())) {
        throw digestMismatch(`blob ${digest}`, digest, actual)
      }
    }
  } finally {
    await partial.leave()
  }
}

interface AttemptOptions extends PullBlobOptions {
  readonly digest: Digest
  /** Where the blob belongs. */
  readonly path: string
}

/** Gets what is missing, gives the digest of all and, where that is right, puts the blob in its place. */
async function attempt(partial: PartialBlob, options: AttemptOptions): Promise<Digest> {
  const { digest, path, follow } = options
  const follower = follow && (await Follower.start(partial.path, partial.arrival, follow))
  let actual: Digest
  try {
    await append(partial, options, follower)
    actual = partial.finishDigest()
    if (actual === digest) await partial.place(path)
  } catch (error) {
    await follower?.cancel(error)
    throw error
  }
  if (actual === digest) await follower?.finish()
  else await follower?.cancel(digestMismatch(`blob ${digest}`, digest, actual))
  return actual
}

async function append(
  partial: PartialBlob,
  { digest, size, read, onProgress, signal }: AttemptOptions,
  follower: Follower | undefined,
): Promise<void> {
  if (partial.size === size) return
  let toldMs = 0
  for await (const chunk of read(partial.size)) {
    if (signal?.aborted === true) throw interruptedError('pull', digest, signal.reason)
    follower?.throwIfFailed()
    if (partial.size + chunk.length > size) throw sizeMismatch(digest, size, 'more')
    await partial.append(chunk)
    if (performance.now() - toldMs < TELL_MS) continue
    toldMs = performance.now()
    onProgress?.(partial.size)
  }
  if (partial.size < size) throw sizeMismatch(digest, size, String(partial.size))
  onProgress?.(size)
}

/**
 * Looks for the blob; it is `placed` while its file has another name beside. One of another size is what somebody has cut or
 * changed: it goes.
 */
async function find(path: string, size: number): Promise<'whole' | 'placed' | 'none'> {
  try {
    const stats = await lstat(path)
    if (stats.isFile() && stats.size === size) return stats.nlink === 1 ? 'whole' : 'placed'
    log.warn({ path }, 'removed a blob of the wrong size from the cache')
    await rm(path, { recursive: true, force: true })
    return 'none'
  } catch (error) {
    if (isMissing(error)) return 'none'
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
