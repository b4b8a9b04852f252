// Chunks of bytes on their way into the cache: from a file, from a pipe, within a limit, looked at in advance.

import { escapeText } from '../byte-string.js'
import { interruptedError } from '../cache/storage-error.js'
import { OcimountError, isOcimountError, messageOf } from '../errors.js'
import type { LocalFile } from './local-file.js'

export interface StreamOptions {
  readonly signal?: AbortSignal | undefined
  /** Called with the bytes that were read so far. */
  readonly onRead: (done: number) => void
}

/**
 * Reads a file from its beginning to its end.
 *
 * @throws OcimountError `SOURCE_CHANGED`, `STORAGE_FAILED`, `INTERRUPTED`
 */
export async function* fileChunks(
  file: LocalFile,
  { signal, onRead }: StreamOptions,
): AsyncGenerator<Buffer, void> {
  for (let offset = 0; offset < file.size;) {
    if (signal?.aborted === true) throw interruptedError('read', file.path, signal.reason)
    const chunk = await file.read(offset, READ_BYTES)
    offset += chunk.length
    yield chunk
    onRead(offset)
  }
}

/**
 * Reads a stream; what it throws becomes an error of ours.
 *
 * @throws OcimountError `STORAGE_FAILED`, `INTERRUPTED`
 */
export async function* streamChunks(
  stream: AsyncIterable<Uint8Array>,
  what: string,
  { signal, onRead }: StreamOptions,
): AsyncGenerator<Buffer, void> {
  let done = 0
  try {
    for await (const chunk of stream) {
      if (signal?.aborted === true) throw interruptedError('read', what, signal.reason)
      done += chunk.length
      yield Buffer.from(chunk.buffer, chunk.byteOffset, chunk.length)
      onRead(done)
    }
  } catch (error) {
    if (isOcimountError(error)) throw error
    const message = `Cannot read ${what}: ${escapeText(messageOf(error))}`
    throw new OcimountError('STORAGE_FAILED', message, { cause: error })
  }
}

/**
 * Passes chunks on up to a limit.
 *
 * @throws OcimountError `LIMIT_EXCEEDED`
 */
export async function* limitChunks(
  chunks: AsyncIterable<Buffer>,
  limit: number,
  what: string,
): AsyncGenerator<Buffer, void> {
  let total = 0
  for await (const chunk of chunks) {
    total += chunk.length
    if (total > limit) {
      const message = `Cannot read ${what}: it is larger than the limit of ${limit} bytes`
      throw new OcimountError('LIMIT_EXCEEDED', message)
    }
    yield chunk
  }
}

/** Gives the first `length` bytes or more, and all chunks; leaving the loop over those ends the source too. */
export async function peekChunks(
  chunks: AsyncIterable<Buffer>,
  length: number,
): Promise<{ head: Buffer; all: AsyncGenerator<Buffer, void> }> {
  const iterator = chunks[Symbol.asyncIterator]()
  const taken: Buffer[] = []
  let size = 0
  while (size < length) {
    const next = await iterator.next()
    if (next.done === true) break
    taken.push(next.value)
    size += next.value.length
  }
  return { head: Buffer.concat(taken), all: chain(taken, iterator) }
}

async function* chain(
  first: readonly Buffer[],
  rest: AsyncIterator<Buffer>,
): AsyncGenerator<Buffer, void> {
  try {
    yield* first
    for (let next = await rest.next(); next.done !== true; next = await rest.next()) {
      yield next.value
    }
  } finally {
    await rest.return?.()
  }
}

/** Large enough that the calls do not matter beside the decompression. */
const READ_BYTES = 1024 * 1024
