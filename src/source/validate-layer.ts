// Reads a layer from end to end and reports everything that is wrong with it: stored digest, compression, DiffID,
// tar structure, names. One fault does not keep the others from being looked for.

import { escapeName } from '../byte-string.js'
import { decompress } from '../compression/decompress.js'
import type { Compression } from '../compression/detect.js'
import { DETECTION_LENGTH, detectCompression } from '../compression/detect.js'
import { OcimountError } from '../errors.js'
import type { Digest } from '../image/digest.js'
import { createDigestHash, digestAlgorithm, digestMismatch, finishDigest } from '../image/digest.js'
import { openRegion, readRegion } from '../layer/blob-file.js'
import type { FileRegion, LayerBlob } from '../layer/layer-blob.js'
import { TocBuilder } from '../layer/toc-builder.js'
import { TarParser } from '../tar/parser.js'
import { peekChunks } from './byte-streams.js'
import type { Findings } from './finding.js'
import { MAX_LISTED } from './limits.js'

export interface ReadOptions {
  readonly signal?: AbortSignal | undefined
  /** Called with the number of stored bytes that were read since the last call. */
  readonly onRead: (bytes: number) => void
}

/**
 * Checks one layer.
 *
 * @throws OcimountError `SOURCE_CHANGED`, `STORAGE_FAILED`, `INTERRUPTED`
 */
export async function validateLayer(
  findings: Findings,
  where: string,
  layer: LayerBlob,
  options: ReadOptions,
): Promise<void> {
  const stored = new HashedRegion(layer.region, layer.digest, options)
  const { head, all } = await peekChunks(stored.chunks(), DETECTION_LENGTH)
  const compression = detectCompression(head)
  try {
    await findings.attempt(where, () => validateTar(findings, where, layer, compression, all))
  } finally {
    await all.return()
  }
  await findings.attempt(where, () => stored.verify(where))
}

/**
 * Checks a blob of which nothing but its digest is known.
 *
 * @throws OcimountError as {@link validateLayer}
 */
export async function validateBlob(
  findings: Findings,
  where: string,
  blob: { readonly region: FileRegion; readonly digest: Digest },
  options: ReadOptions,
): Promise<void> {
  await findings.attempt(where, async () => {
    await new HashedRegion(blob.region, blob.digest, options).verify(where)
  })
}

async function validateTar(
  findings: Findings,
  where: string,
  { diffId }: LayerBlob,
  compression: Compression,
  stored: AsyncIterable<Buffer>,
): Promise<void> {
  if (compression === 'bzip2' || compression === 'xz' || compression === 'zip') {
    const message = `Cannot read ${where}: it is compressed with ${compression}`
    throw new OcimountError('COMPRESSION_UNSUPPORTED', message)
  }
  const hash = createDigestHash(diffId)
  const tar = new TarChecker(findings, where)
  const plain = compression === 'none' ? stored : decompress(compression, stored, { what: where })
  for await (const chunk of plain) {
    hash.update(chunk)
    tar.write(chunk)
  }
  tar.end()
  const actual = finishDigest(hash, digestAlgorithm(diffId))
  if (actual !== diffId) throw digestMismatch(`${where} (uncompressed)`, diffId, actual)
}

/** Follows the tar until its first fault; the bytes behind that still count for the DiffID. */
class TarChecker {
  readonly #findings: Findings
  readonly #where: string
  readonly #builder = new TocBuilder()
  readonly #parser: TarParser
  #offset = 0
  #isBroken = false

  constructor(findings: Findings, where: string) {
    this.#findings = findings
    this.#where = where
    this.#parser = new TarParser({
      onEntry: (entry) => {
        // A name that cannot be used is one fault, and the next entry may have another.
        this.#try(() => {
          this.#builder.onEntry(entry)
        })
      },
      onNote: (note) => {
        this.#builder.onNote(note)
      },
    })
  }

  write(chunk: Buffer): void {
    const offset = this.#offset
    this.#offset += chunk.length
    if (this.#isBroken) return
    this.#isBroken = !this.#try(() => {
      this.#parser.write(chunk, offset)
    })
  }

  end(): void {
    if (!this.#isBroken) {
      this.#try(() => {
        this.#parser.end(this.#offset)
      })
    }
    const { notes } = this.#builder.finish(this.#offset)
    for (const { kind, path, detail } of notes.slice(0, MAX_LISTED)) {
      this.#findings.warn(this.#where, `${kind}: ${escapeName(path) || '(no name)'}: ${detail}`)
    }
    const rest = notes.length - MAX_LISTED
    if (rest > 0) this.#findings.warn(this.#where, `and ${rest} more notes on its entries`)
  }

  #try(work: () => void): boolean {
    try {
      work()
      return true
    } catch (error) {
      this.#findings.take(this.#where, error)
      return false
    }
  }
}

/** A stretch of a file and the running hash of what was read of it. */
class HashedRegion {
  readonly #region: FileRegion
  readonly #digest: Digest | undefined
  readonly #options: ReadOptions
  readonly #hash
  #done = 0

  constructor(region: FileRegion, digest: Digest | undefined, options: ReadOptions) {
    this.#region = region
    this.#digest = digest
    this.#options = options
    this.#hash = digest === undefined ? undefined : createDigestHash(digest)
  }

  /** Yields what was not read yet. */
  async *chunks(): AsyncGenerator<Buffer, void> {
    const { path, offset, length } = this.#region
    const rest = { path, offset: offset + this.#done, length: length - this.#done }
    if (rest.length === 0) return
    const handle = await openRegion(this.#region)
    try {
      for await (const chunk of readRegion(handle, rest, CHUNK_BYTES)) {
        if (this.#options.signal?.aborted === true) {
          throw new OcimountError('INTERRUPTED', 'Cannot validate the image: it was interrupted')
        }
        this.#hash?.update(chunk)
        this.#done += chunk.length
        this.#options.onRead(chunk.length)
        yield chunk
      }
    } finally {
      await handle.close()
    }
  }

  /** Compares the digest, reading what a decompressor left after a fault: that counts as well. */
  async verify(what: string): Promise<void> {
    const chunks = this.chunks()
    while ((await chunks.next()).done !== true);
    if (this.#hash === undefined || this.#digest === undefined) return
    const actual = finishDigest(this.#hash, digestAlgorithm(this.#digest))
    if (actual !== this.#digest) throw digestMismatch(what, this.#digest, actual)
  }
}

const CHUNK_BYTES = 1024 * 1024
