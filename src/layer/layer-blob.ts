// A layer as a source hands it over: where its stored bytes are and what they must hash to.

import type { ArrivingFile } from '../cache/arrival.js'
import type { FileIdentity } from '../cache/file-identity.js'
import type { FetchStats } from '../cache/piece-maker.js'
import type { Digest, DiffId } from '../image/digest.js'
import type { LazyClaim } from '../image/lazy-index.js'

/** A stretch of a local file. */
export interface FileRegion {
  readonly path: string
  readonly offset: number
  readonly length: number
  /** Identity of the whole file when it was found; a file that has another one later is refused. */
  readonly identity: FileIdentity
  /** The file is still written, by this process: it changes all the time, and its identity says nothing. */
  readonly isArriving?: true
}

/** A layer whose stored bytes are coming in. */
export interface ArrivingLayer extends ArrivingFile {
  /** Can be opened as long as the follower runs, and read up to where it has arrived. */
  readonly blob: LayerBlob
}

export interface FetchOptions {
  readonly signal?: AbortSignal | undefined
  /** Called with the stored bytes that are there and all of them. */
  readonly onProgress?: ((progress: { done: number; total: number }) => void) | undefined
  /** Called where the bytes have to come from elsewhere; see {@link Follow}. */
  readonly follow?: ((layer: ArrivingLayer) => Promise<void>) | undefined
}

/** How a stretch of a blob is asked for. */
export interface RangeOptions {
  readonly signal?: AbortSignal | undefined
  /** How often the same bytes came and were wrong: from 1 on another server is asked first, where there is one. */
  readonly attempt: number
  /** Whether somebody waits for it: such a request is never behind one that nobody waits for. */
  readonly isUrgent: boolean
  /** Whether somebody is likely to wait for it soon. */
  readonly isLikely?: boolean | undefined
  /** Aborted when somebody begins to wait for what nobody waited for. */
  readonly hurry?: AbortSignal | undefined
  /** Called as bytes come in: of those that are given in the end, the first `length` are there. */
  readonly onArrived?: ((bytes: Buffer, length: number) => void) | undefined
}

/** Stored bytes that lie elsewhere and can be had in parts, which are not verified. */
export interface BlobRanges {
  /**
   * Gives a stretch, all of it.
   *
   * @throws OcimountError `REGISTRY_UNAVAILABLE`, with the detail `ranges: 'ignored'` where only whole blobs can be had;
   *   `REGISTRY_DENIED`, `BLOB_MISSING`, `SIZE_MISMATCH`, `INTERRUPTED`
   */
  read(
    range: { readonly offset: number; readonly length: number },
    options: RangeOptions,
  ): Promise<Buffer>
  /** What was read so far. */
  fetched(): FetchStats
}

/** A layer whose manifest says something about a table of contents in its blob. */
export interface LazyLayer {
  readonly claim: LazyClaim
  readonly ranges: BlobRanges
}

/** One layer of an image, base first in any list. */
export interface LayerBlob {
  /** Of a layer that can be fetched: where it will be. Only what {@link LayerBlob.fetch} gives can be opened. */
  readonly region: FileRegion
  /** Digest of the stored bytes; undefined in a docker-archive without descriptors, which has none. */
  readonly digest: Digest | undefined
  /** Digest of the uncompressed stream, from the image config. */
  readonly diffId: DiffId
  /** As the manifest says; what the bytes are is decided by looking at them (checklist A-007). */
  readonly mediaType: string
  /**
   * Brings in the stored bytes of a layer that lies elsewhere, verified, and gives the layer as a local one; harmless
   * where they are here already.
   *
   * @throws OcimountError `REGISTRY_UNAVAILABLE`, `REGISTRY_DENIED`, `BLOB_MISSING`, `DIGEST_MISMATCH`, `SIZE_MISMATCH`,
   *   `STORAGE_FULL`, `STORAGE_FAILED`, `CACHE_LOCKED`, `INTERRUPTED`
   */
  readonly fetch?: (options: FetchOptions) => Promise<LayerBlob>
  /** The stored bytes once more, from where they were fetched; good while the image is open. */
  readonly again?: BlobRanges
  /** Undefined where all of the layer has to be had before any of it is known. Good while the image is open. */
  readonly lazy?: LazyLayer
}
