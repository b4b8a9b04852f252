// Makes the pieces of a gzip layer from its blob, when they are missed: finds the spans, has the addon inflate them and says
// in words what went wrong. The file of the blob is open from the start, its table of spans is read at the first miss; where
// that is gone or useless the pass over the blob is done again. Spans that have rotted are fetched again, where they came from
// elsewhere.

import type { FileHandle } from 'node:fs/promises'

import type { FetchStats, MadePieces, PieceSource, WantedPieces } from '../cache/piece-maker.js'
import { PIECE_DIGEST_SIZE, PIECE_SIZE } from '../cache/piece-map.js'
import { isOcimountError, messageOf, OcimountError } from '../errors.js'
import { log } from '../logger.js'
import type { FillOptions, FillResult, NativeBindings } from '../native.js'
import { checkRegion, openRegion, readFailed } from './blob-file.js'
import type { BlobRanges, LayerBlob } from './layer-blob.js'
import { spansOf, type SpanRun, type SpanTable } from './span-table.js'

export interface GzipSourceParts {
  readonly native: NativeBindings
  readonly blob: LayerBlob
  /** Gives the table of spans, from the cache or made again. */
  readonly loadTable: () => Promise<SpanTable>
  /** Called when the blob's file is still the same and its bytes are not. */
  readonly onRotten?: (() => Promise<void>) | undefined
  /** Puts bytes at a position of a file that nobody else has. */
  readonly keepAside: (bytes: Buffer, position: number) => Promise<FileHandle>
}

/** Makes pieces of one layer. */
export class GzipSource implements PieceSource {
  readonly #parts: GzipSourceParts
  readonly #handle: FileHandle
  readonly #ending = new AbortController()
  #table: Promise<SpanTable> | undefined

  private constructor(parts: GzipSourceParts, handle: FileHandle) {
    this.#parts = parts
    this.#handle = handle
  }

  /**
   * Opens the file of the blob.
   *
   * @throws OcimountError `SOURCE_CHANGED`, `STORAGE_FAILED`
   */
  static async open(parts: GzipSourceParts): Promise<GzipSource> {
    return new GzipSource(parts, await openRegion(parts.blob.region))
  }

  async make(wanted: WantedPieces): Promise<MadePieces> {
    const { native, blob } = this.#parts
    const { firstPiece, pieceDigests, deviceSize, dataFd } = wanted
    const table = await this.#load()
    if (table.deviceSize !== deviceSize) {
      const message = `Cannot read layer ${blob.diffId}: its index is of another size than its digests`
      throw new OcimountError('CACHE_CORRUPT', message)
    }
    const end = (firstPiece + pieceDigests.length / PIECE_DIGEST_SIZE) * PIECE_SIZE
    const run = spansOf(table, firstPiece * PIECE_SIZE, Math.min(end, deviceSize))
    const { offset, length } = blob.region
    const fill = {
      spans: run.records,
      window: run.window,
      compressedEnd: run.compressedEnd,
      bitsEnd: run.bitsEnd,
      ...{ dataFd, firstPiece, pieceDigests, deviceSize },
    }
    const result = await native.fillPieces({
      ...fill,
      blob: { fd: this.#handle.fd, offset, length },
    })
    const made = madeBy(result)
    if (made !== undefined) return made
    const failure = await this.#failure(result, run)
    // Of several pieces the good ones need nothing: whoever wants them asks for each.
    const isAlone = pieceDigests.length === PIECE_DIGEST_SIZE
    if (!isAlone || !FAULTS_OF_BLOB.has(result.status)) throw failure
    return this.#makeAgain(fill, run, failure)
  }

  fetched(): FetchStats | undefined {
    const stats = this.#parts.blob.again?.fetched()
    const isUsed = stats !== undefined && (stats.fetchedBytes > 0 || stats.lastError !== undefined)
    return isUsed ? stats : undefined
  }

  /** Lets nobody wait for a registry any longer. */
  stop(): void {
    this.#ending.abort()
  }

  async close(): Promise<void> {
    await this.#table?.catch(() => undefined)
    await this.#handle.close()
  }

  /** Makes a piece from bytes that are fetched once more; throws `failure`, and why that is all, where it cannot. */
  async #makeAgain(
    fill: Omit<FillOptions, 'blob'>,
    run: SpanRun,
    failure: OcimountError,
  ): Promise<MadePieces> {
    const { native, blob } = this.#parts
    if (blob.again === undefined) throw failure
    log.warn({ why: failure.message }, 'a part of a blob is fetched again')
    for (let attempt = 0; attempt < 2; attempt++) {
      const handle = await this.#refetch(blob.again, run, attempt).catch((error: unknown) => {
        throw worse(failure, `it cannot be fetched again: ${messageOf(error)}`, error)
      })
      try {
        const { length } = blob.region
        const made = madeBy(
          await native.fillPieces({ ...fill, blob: { fd: handle.fd, offset: 0, length } }),
        )
        if (made !== undefined) return made
      } finally {
        await handle.close()
      }
    }
    throw worse(failure, 'what comes when it is fetched again is wrong too')
  }

  /** Gets the stored bytes of spans into a file, where they are in the blob. */
  async #refetch(ranges: BlobRanges, run: SpanRun, attempt: number): Promise<FileHandle> {
    const { length: blobSize } = this.#parts.blob.region
    // The last byte may be shared with the span behind.
    const end = Math.min(blobSize, run.compressedEnd + (run.bitsEnd > 0 ? 1 : 0))
    const range = { offset: run.compressedStart, length: end - run.compressedStart }
    const options = { attempt, isUrgent: true, signal: this.#ending.signal }
    return this.#parts.keepAside(await ranges.read(range, options), range.offset)
  }

  #load(): Promise<SpanTable> {
    this.#table ??= this.#parts.loadTable().catch((error: unknown) => {
      this.#table = undefined
      throw error
    })
    return this.#table
  }

  async #failure({ status, message, errno }: FillResult, run: SpanRun): Promise<OcimountError> {
    const { region, diffId } = this.#parts.blob
    if (status === 'read-error') return readFailed(region.path, new Error(message))
    if (status === 'bad-span' || status === 'source-changed') {
      try {
        await checkRegion(this.#handle, region)
        if (status === 'bad-span') await this.#parts.onRotten?.()
      } catch (error) {
        if (error instanceof OcimountError) return error
        throw error
      }
    }
    const isSource = status === 'bad-span' || status === 'source-changed'
    const spans = run.count === 1 ? `${run.first}` : `${run.first}-${run.first + run.count - 1}`
    const of = `${run.count === 1 ? 'span' : 'spans'} ${spans} of layer ${diffId}`
    if (!isSource) log.debug({ status, errno, spans }, message)
    return new OcimountError(
      isSource ? 'DIGEST_MISMATCH' : 'CACHE_CORRUPT',
      `Cannot read ${of}: ${message}`,
      { details: { spans, path: region.path } },
    )
  }
}

/** Another copy of the blob may have it right. */
const FAULTS_OF_BLOB: ReadonlySet<FillResult['status']> = new Set([
  'bad-span',
  'source-changed',
  'read-error',
])

function madeBy({ bytes, status, message }: FillResult): MadePieces | undefined {
  if (bytes === undefined) return undefined
  return { bytes, writeFailure: status === 'write-error' ? message : undefined }
}

function worse({ code, message, details }: OcimountError, why: string, cause?: unknown): Error {
  if (isOcimountError(cause, 'INTERRUPTED')) return cause
  return new OcimountError(code, `${message}; ${why}`, { details, cause })
}
