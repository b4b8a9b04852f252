// Archives that cannot be read in place: a compressed file, and standard input. Their plain bytes go into the
// cache once, as a file that appears whole or not at all, and are then read like any other archive.

import { createHash } from 'node:crypto'
import { join } from 'node:path'
import { escapeText } from '../byte-string.js'
import type { Cache } from '../cache/cache.js'
import type { FileIdentity } from '../cache/file-identity.js'
import { identityKey } from '../cache/file-identity.js'
import { spool } from '../cache/spool.js'
import { decompress } from '../compression/decompress.js'
import type { DecompressibleKind } from '../compression/detect.js'
import { DETECTION_LENGTH } from '../compression/detect.js'
import { OcimountError } from '../errors.js'
import { fileChunks, limitChunks, peekChunks, streamChunks } from './byte-streams.js'
import { identifyFile } from './file-kind.js'
import { MAX_DECODED_BYTES, MAX_SPOOLED_BYTES } from './limits.js'
import { LocalFile } from './local-file.js'

/** How far the work is, in bytes of input. Nobody knows how long standard input is: `total` is then `done`. */
export interface StoreProgress {
  readonly phase: 'decompress' | 'spool'
  readonly done: number
  readonly total: number
}

export interface StoreOptions {
  readonly cache: Cache
  readonly onProgress?: ((progress: StoreProgress) => void) | undefined
  readonly signal?: AbortSignal | undefined
  /** Size of the plain archive after which the work stops; {@link MAX_DECODED_BYTES} or {@link MAX_SPOOLED_BYTES}. */
  readonly maxBytes?: number | undefined
}

/**
 * Gives the plain form of a compressed archive: from the cache, where it is kept under the identity of the
 * compressed file, else by decompressing it there once.
 *
 * @throws OcimountError `LAYER_CORRUPT`, `COMPRESSION_UNSUPPORTED`, `LIMIT_EXCEEDED`, `SOURCE_CHANGED`,
 *   `STORAGE_FULL`, `STORAGE_FAILED`, `CACHE_LOCKED`, `INTERRUPTED`; as {@link identifyFile} as soon as the content
 *   is seen to be no archive
 */
export async function decodeArchive(
  file: LocalFile,
  kind: DecompressibleKind,
  options: StoreOptions,
): Promise<LocalFile> {
  const { cache, onProgress, signal, maxBytes = MAX_DECODED_BYTES } = options
  const what = escapeText(file.path)
  const earlier = await openDecoded(cache, file.identity)
  if (earlier !== undefined) return earlier
  // Of two processes that want the same archive, one decompresses and the other waits for it.
  const work = async (): Promise<LocalFile> => {
    const others = await openDecoded(cache, file.identity)
    if (others !== undefined) return others
    refuseWithoutRoom(cache, what)
    const input = fileChunks(file, {
      signal,
      onRead: (done) => onProgress?.({ phase: 'decompress', done, total: file.size }),
    })
    const plain = decompress(kind, input, { what, maxOutput: maxBytes })
    return store(cache, plain, { what, signal, source: file })
  }
  return cache.withLock(`decode-${identityKey(file.identity)}`, work, { signal })
}

/**
 * Takes all of a stream into the cache, plain, under the SHA-256 of the plain bytes.
 *
 * @throws OcimountError as {@link decodeArchive}
 */
export async function spoolArchive(
  stream: AsyncIterable<Uint8Array>,
  what: string,
  options: StoreOptions,
): Promise<LocalFile> {
  const { cache, onProgress, signal, maxBytes = MAX_SPOOLED_BYTES } = options
  refuseWithoutRoom(cache, what)
  const input = streamChunks(stream, what, {
    signal,
    onRead: (done) => onProgress?.({ phase: 'spool', done, total: done }),
  })
  const { head, all } = await peekChunks(input, DETECTION_LENGTH)
  const compression = identifyFile(head, what)
  const plain =
    compression === 'none'
      ? limitChunks(all, maxBytes, what)
      : decompress(compression, all, { what, maxOutput: maxBytes })
  return store(cache, plain, { what, signal, source: undefined })
}

function refuseWithoutRoom(cache: Cache, what: string): void {
  if (cache.takesWhole) return
  const why = 'it has to be stored uncompressed, and there is no room for it'
  throw new OcimountError('STORAGE_FULL', `Cannot use ${what} as an image: ${why}`)
}

/** Writes chunks to a new file and moves it into place, under the identity of the source if there is one. */
async function store(
  cache: Cache,
  chunks: AsyncIterable<Buffer>,
  {
    what,
    signal,
    source,
  }: { what: string; signal: AbortSignal | undefined; source: LocalFile | undefined },
): Promise<LocalFile> {
  const staging = await cache.stage()
  try {
    // Seen before gigabytes of something else are written; one level of compression is undone, no more (S-17).
    const { head, all } = await peekChunks(chunks, DETECTION_LENGTH)
    if (identifyFile(head, what) !== 'none') {
      const message = `Cannot use ${what} as an image: it is compressed twice`
      throw new OcimountError('IMAGE_UNSUPPORTED', message)
    }
    const hash = createHash('sha256')
    const onChunk = (chunk: Uint8Array): unknown => hash.update(chunk)
    await spool(all, join(staging.path, NAME), { onChunk, signal })
    // What was read may be half of one file and half of another.
    source?.refuseChange()
    const sha256 = hash.digest('hex')
    const key = source?.identity ?? sha256
    return LocalFile.open(await cache.publishDecodedArchive(staging, NAME, { source: key, sha256 }))
  } finally {
    await staging.remove()
  }
}

async function openDecoded(cache: Cache, identity: FileIdentity): Promise<LocalFile | undefined> {
  const path = await cache.findDecodedArchive(identity)
  if (path === undefined) return undefined
  await cache.touch([path])
  return LocalFile.open(path)
}

const NAME = 'archive'
