// A layer as a source hands it over: where its stored bytes are and what they must hash to.

import type { ArrivingFile } from '../cache/arrival.js'
import type { FileIdentity } from '../cache/file-identity.js'
import type { Digest, DiffId } from '../image/digest.js'

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
}
