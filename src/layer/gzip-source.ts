// Makes the pieces of a gzip layer from its blob, when they are missed: finds the spans, has the addon inflate them and says
// in words what went wrong. The file of the blob is open from the start, its table of spans is read at the first miss; where
// that is gone or useless the pass over the blob is done again.

import type { FileHandle } from 'node:fs/promises'

import type { MadePieces, PieceSource, WantedPieces } from '../cache/piece-maker.js'
import { PIECE_DIGEST_SIZE, PIECE_SIZE } from '../cache/piece-map.js'
import { OcimountError } from '../errors.js'
import { log } from '../logger.js'
import type { FillResult, NativeBindings } from '../native.js'
import { checkRegion, openRegion, readFailed } from './blob-file.js'
import type { LayerBlob } from './layer-blob.js'
import { spansOf, type SpanRun, type SpanTable } from './span-table.js'

export interface GzipSourceParts {
  readonly native: NativeBindings
  readonly blob: LayerBlob
  /** Gives the table of spans, from the cache or made again. */
  readonly loadTable: () => Promise<SpanTable>
  /** Called when the blob's file is still the same and its bytes are not. */
  readonly onRotten?: (() => Promise<void>) | undefined
}

/** Makes pieces of one layer. */
export class GzipSource implements PieceSource {
  readonly #parts: GzipSourceParts
  readonly #handle: FileHandle
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
    const result = await native.fillPieces({
      blob: { fd: this.#handle.fd, offset, length },
      spans: run.records,
      window: run.window,
      compressedEnd: run.compressedEnd,
      bitsEnd: run.bitsEnd,
      dataFd,
      firstPiece,
      pieceDigests,
      deviceSize,
    })
    if (result.bytes === undefined) throw await this.#failure(result, run)
    const writeFailure = result.status === 'write-error' ? result.message : undefined
    return { bytes: result.bytes, writeFailure }
  }

  async close(): Promise<void> {
    await this.#table?.catch(() => undefined)
    await this.#handle.close()
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
