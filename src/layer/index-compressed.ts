// The one pass over a compressed layer: blob digest, DiffID, toc and the cache's data file at once.
//
//   file ──read──▶ blob hash ──▶ decompressor ──▶ diffId hash, tar parser, data file (with a hash per MiB)
//
// For zstd, and for gzip where the addon is missing (index-gzip.ts does that without writing anything).
// Reading, inflating and writing run in libuv's threads, all hashing in this one. Processor time for a 671 MB layer,
// gzip at 4.7 to 1: inflating 1.6 s, each SHA-256 over the output 0.5 s (DiffID and pieces), over the blob 0.1 s, writing
// 0.5 to 0.9 s. Inflating is the longest single thread, so a second hashing thread would gain nothing. Decompressing
// with both digests ran at 315 to 360 MB/s on two busy cores; the whole pass ends with an fsync and then has the
// speed of the disk (108 MB/s where writing and syncing alone reached 196 MB/s and two other jobs were running).

import type { Hash } from 'node:crypto'
import type { FileHandle } from 'node:fs/promises'

import { DataFileWriter } from '../cache/data-file-writer.js'
import { FreeSpaceGuard } from '../cache/free-space.js'
import { decompress, MAX_UNCOMPRESSED } from '../compression/decompress.js'
import { isOcimountError, OcimountError } from '../errors.js'
import {
  createDigestHash,
  digestAlgorithm,
  digestMismatch,
  finishDigest,
  type Digest,
} from '../image/digest.js'
import { TarParser } from '../tar/parser.js'
import { checkRegion, openRegion, readRegion } from './blob-file.js'
import type { FileRegion } from './layer-blob.js'
import type { TaskContext } from './task-context.js'
import { TocBuilder } from './toc-builder.js'
import type { Toc } from './toc.js'
import type { IndexTask } from './worker-messages.js'

const INPUT_CHUNK = 256 * 1024

/**
 * Writes the data file of a layer into `task.directory` and gives its toc, when both digests are right.
 *
 * What is in the directory after a failure is for the caller to remove. A blob that cannot be decoded and has another
 * digest than it should is reported as `DIGEST_MISMATCH`, with what the decoder said as its cause.
 *
 * @throws OcimountError `DIGEST_MISMATCH`, `LAYER_CORRUPT`, `TAR_CORRUPT`, `COMPRESSION_UNSUPPORTED`,
 *   `LIMIT_EXCEEDED`, `SOURCE_CHANGED`, `STORAGE_FULL`, `STORAGE_FAILED`, `INTERRUPTED`
 */
export async function indexCompressed(task: IndexTask, context: TaskContext): Promise<Toc> {
  const handle = await openRegion(task.region)
  const blob = new HashedBlob(handle, task, context)
  try {
    let toc: Toc
    const writer = await DataFileWriter.create(task.directory)
    try {
      toc = await decode(blob, writer, task)
      await blob.verify()
      await writer.finish()
    } catch (error) {
      throw await blob.explain(error)
    } finally {
      await writer.abort()
    }
    await checkRegion(handle, task.region)
    return toc
  } finally {
    await handle.close()
  }
}

async function decode(blob: HashedBlob, writer: DataFileWriter, task: IndexTask): Promise<Toc> {
  const { diffId, limits, compression } = task
  const what = `layer ${diffId}`
  const hash = createDigestHash(diffId)
  const builder = new TocBuilder()
  const parser = new TarParser(
    {
      onEntry: (entry) => {
        builder.onEntry(entry)
      },
      onNote: (note) => {
        builder.onNote(note)
      },
    },
    limits,
  )
  const maxOutput = limits.maxUncompressed ?? MAX_UNCOMPRESSED
  let deviceOffset = 0
  const space = new FreeSpaceGuard(task.directory, `Cannot store ${what}`)
  for await (const chunk of decompress(compression, blob.read(), { what, maxOutput })) {
    await space.check(deviceOffset)
    hash.update(chunk)
    parser.write(chunk, deviceOffset)
    deviceOffset += chunk.length
    await writer.write(chunk)
  }
  parser.end(deviceOffset)
  const actual = finishDigest(hash, digestAlgorithm(diffId))
  if (actual !== diffId) throw digestMismatch(`${what} (uncompressed)`, diffId, actual)
  return builder.finish(deviceOffset)
}

/** The blob's bytes, hashed as they are read. */
class HashedBlob {
  readonly #handle: FileHandle
  readonly #region: FileRegion
  readonly #digest: Digest | undefined
  readonly #hash: Hash | undefined
  readonly #context: TaskContext
  #done = 0

  constructor(handle: FileHandle, { region, digest }: IndexTask, context: TaskContext) {
    this.#handle = handle
    this.#region = region
    this.#digest = digest
    this.#hash = digest === undefined ? undefined : createDigestHash(digest)
    this.#context = context
  }

  /** Yields what was not read yet. */
  async *read(): AsyncGenerator<Buffer, void, undefined> {
    const { path, offset, length, isArriving } = this.#region
    const begin = this.#done
    const rest = { path, offset: offset + begin, length: length - begin }
    const reach = isArriving && ((size: number) => this.#context.reach(begin + size))
    for await (const chunk of readRegion(this.#handle, rest, INPUT_CHUNK, reach)) {
      this.#context.throwIfAborted()
      this.#hash?.update(chunk)
      this.#done += chunk.length
      this.#context.report(this.#done)
      yield chunk
    }
  }

  /** Compares the digest, reading what the decoder left. */
  async verify(): Promise<void> {
    if (this.#digest === undefined || this.#hash === undefined) return
    const chunks = this.read()
    while ((await chunks.next()).done !== true);
    const actual = finishDigest(this.#hash, digestAlgorithm(this.#digest))
    if (actual !== this.#digest) throw digestMismatch(`layer ${this.#digest}`, this.#digest, actual)
  }

  /** Gives the reason for a failure: a wrong digest of the blob explains every other one. */
  async explain(error: unknown): Promise<unknown> {
    if (!isOcimountError(error, ...CAUSED_BY_BYTES) || this.#digest === undefined) return error
    try {
      await this.verify()
      return error
    } catch (mismatch) {
      if (!isOcimountError(mismatch, 'DIGEST_MISMATCH')) return mismatch
      return new OcimountError(mismatch.code, mismatch.message, {
        cause: error,
        details: mismatch.details,
      })
    }
  }
}

const CAUSED_BY_BYTES = [
  'LAYER_CORRUPT',
  'TAR_CORRUPT',
  'COMPRESSION_UNSUPPORTED',
  'LIMIT_EXCEEDED',
] as const
