// The one pass over a gzip layer by the addon: blob digest, DiffID, toc, spans and the digests of all pieces at once, in
// threads of its own. Nothing is written but what describes the layer; its bytes are made again when they are wanted.

import type { FileHandle } from 'node:fs/promises'

import { PIECE_SIZE } from '../cache/piece-map.js'
import { MAX_UNCOMPRESSED } from '../compression/decompress.js'
import { isOcimountError, OcimountError } from '../errors.js'
import { digestAlgorithm, digestMismatch, type Digest } from '../image/digest.js'
import type { GzipIndexResult, HashName, NativeBindings } from '../native.js'
import { TarParser } from '../tar/parser.js'
import { checkRegion, openRegion, readFailed } from './blob-file.js'
import type { LayerBlob } from './layer-blob.js'
import type { TaskOptions } from './run-worker.js'
import type { SpanTable } from './span-table.js'
import { REPORT_INTERVAL_MS } from './task-context.js'
import { TocBuilder } from './toc-builder.js'
import type { Toc } from './toc.js'
import type { LayerLimits } from './worker-messages.js'

/** What the pass finds out about a layer whose digests are right. */
export interface GzipIndex {
  readonly toc: Toc
  readonly table: SpanTable
  /** SHA-256 of each piece of the device. */
  readonly pieceDigests: Buffer
  /** Of the blob, also where the image names none. */
  readonly blobDigest: Digest
}

export interface IndexGzipOptions extends TaskOptions {
  readonly limits?: LayerLimits | undefined
}

/**
 * Indexes a gzip layer.
 *
 * A blob that cannot be decoded and has another digest than it should is reported as `DIGEST_MISMATCH`, with what the
 * decoder said as its cause.
 *
 * @throws OcimountError `DIGEST_MISMATCH`, `LAYER_CORRUPT`, `TAR_CORRUPT`, `LIMIT_EXCEEDED`, `SOURCE_CHANGED`,
 *   `STORAGE_FAILED`, `INTERRUPTED`
 */
export async function indexGzip(
  blob: LayerBlob,
  native: NativeBindings,
  options: IndexGzipOptions,
): Promise<GzipIndex> {
  const { region } = blob
  const handle = await openRegion(region)
  try {
    const listing = new Listing(options.limits ?? {})
    const result = await runJob(blob, handle, { native, listing, options })
    if (result.status === 'io-error') {
      await checkRegion(handle, region)
      throw readFailed(region.path, new Error(result.message))
    }
    if (options.signal?.aborted === true) throw interrupted()
    const blobDigest = checkBlobDigest(blob, result, () => problemOf(blob, result, listing))
    const problem = problemOf(blob, result, listing)
    if (problem !== undefined) throw problem
    await checkRegion(handle, region)
    const { diffId } = blob
    const { deviceSize, spans: records, windows, pieceDigests } = result
    return {
      toc: listing.finish(deviceSize),
      table: {
        ...{ deviceSize, diffId, records, windows },
        blobSize: region.length,
        spanSize: SPAN_SIZE,
      },
      pieceDigests,
      blobDigest,
    }
  } finally {
    await handle.close()
  }
}

/** A fill inflates whole spans, and checkpoints cost memory: as many of one as of the other. */
const SPAN_SIZE = PIECE_SIZE

interface JobParts {
  readonly native: NativeBindings
  readonly listing: Listing
  readonly options: IndexGzipOptions
}

async function runJob(
  { region, digest, diffId }: LayerBlob,
  handle: FileHandle,
  { native, listing, options }: JobParts,
): Promise<GzipIndexResult> {
  const { signal, onProgress, arrival, limits = {} } = options
  if (signal?.aborted === true) throw interrupted()
  const job = new native.GzipIndexJob(
    {
      blob: { fd: handle.fd, offset: region.offset, length: region.length },
      ...(arrival === undefined ? {} : { available: arrival.size }),
      blobHash: blobHash(digest),
      deviceHash: hashName(diffId),
      spanSize: SPAN_SIZE,
      maxOutput: limits.maxUncompressed ?? MAX_UNCOMPRESSED,
    },
    (chunk, deviceOffset) => {
      if (!listing.write(chunk, deviceOffset)) job.skipOutput()
    },
  )
  const total = region.length
  const timer = setInterval(() => {
    onProgress?.({ done: job.progress, total })
  }, REPORT_INTERVAL_MS)
  const abort = (): void => {
    job.abort()
  }
  signal?.addEventListener('abort', abort, { once: true })
  const unwatch = arrival?.watch((size) => {
    job.advance(size)
  })
  try {
    const result = await job.done
    if (result.status === 'done') onProgress?.({ done: total, total })
    return result
  } finally {
    clearInterval(timer)
    signal?.removeEventListener('abort', abort)
    unwatch?.()
  }
}

/** Lists the tar as it comes by; a failure is kept, since a wrong digest would explain it. */
class Listing {
  readonly #builder = new TocBuilder()
  readonly #parser: TarParser
  #failure: OcimountError | undefined

  constructor(limits: LayerLimits) {
    this.#parser = new TarParser(
      {
        onEntry: (entry) => {
          this.#builder.onEntry(entry)
        },
        onNote: (note) => {
          this.#builder.onNote(note)
        },
      },
      limits,
    )
  }

  get failure(): OcimountError | undefined {
    return this.#failure
  }

  /** Gives false when it wants no more. */
  write(chunk: Buffer, deviceOffset: number): boolean {
    return this.#try(() => {
      this.#parser.write(chunk, deviceOffset)
    })
  }

  /** Ends the listing, which may find it incomplete. */
  end(deviceSize: number): OcimountError | undefined {
    this.#try(() => {
      this.#parser.end(deviceSize)
    })
    return this.#failure
  }

  finish(deviceSize: number): Toc {
    return this.#builder.finish(deviceSize)
  }

  #try(step: () => void): boolean {
    if (this.#failure !== undefined) return false
    try {
      step()
      return true
    } catch (error) {
      this.#failure = isOcimountError(error)
        ? error
        : new OcimountError('INTERNAL', 'Cannot list a layer', { cause: error })
      return false
    }
  }
}

function checkBlobDigest(
  { digest }: LayerBlob,
  { blobDigest }: GzipIndexResult,
  cause: () => OcimountError | undefined,
): Digest {
  if (blobDigest === undefined)
    throw new OcimountError('INTERNAL', 'Cannot index a layer: no digest')
  const actual = `${blobHash(digest)}:${blobDigest.toString('hex')}` as Digest
  if (digest === undefined || actual === digest) return actual
  const { code, message, details } = digestMismatch(`layer ${digest}`, digest, actual)
  throw new OcimountError(code, message, { details, cause: cause() })
}

function problemOf(
  { diffId }: LayerBlob,
  result: GzipIndexResult,
  listing: Listing,
): OcimountError | undefined {
  const what = `layer ${diffId}`
  if (listing.failure !== undefined) return listing.failure
  if (result.status === 'too-large') {
    return new OcimountError(
      'LIMIT_EXCEEDED',
      `Cannot decompress ${what}: it is larger than the limit`,
    )
  }
  if (result.status !== 'done' || result.deviceDigest === undefined) {
    return new OcimountError('LAYER_CORRUPT', `Cannot decompress ${what}: ${result.message}`)
  }
  const cut = listing.end(result.deviceSize)
  if (cut !== undefined) return cut
  const actual = `${digestAlgorithm(diffId)}:${result.deviceDigest.toString('hex')}` as Digest
  return actual === diffId ? undefined : digestMismatch(`${what} (uncompressed)`, diffId, actual)
}

/** A blob without a digest gets one all the same, to name its index by. */
function blobHash(digest: Digest | undefined): HashName {
  return digest === undefined ? 'sha256' : hashName(digest)
}

function hashName(digest: Digest): HashName {
  return digestAlgorithm(digest) === 'sha512' ? 'sha512' : 'sha256'
}

function interrupted(): OcimountError {
  return new OcimountError('INTERRUPTED', 'Cannot index a layer: it was interrupted')
}
