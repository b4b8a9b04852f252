// What the main thread and a layer worker say to each other. All of it survives structured cloning; an error class does
// not, so errors are taken apart and put together again.

import type { DecompressibleKind } from '../compression/detect.js'
import {
  isOcimountError,
  messageOf,
  OcimountError,
  type ErrorCode,
  type ErrorDetails,
} from '../errors.js'
import type { Digest, DiffId } from '../image/digest.js'
import type { TarLimits } from '../tar/limits.js'
import type { FileRegion } from './layer-blob.js'

/** Caps that a caller of the indexer may set. */
export interface LayerLimits extends TarLimits {
  /** Uncompressed bytes of one compressed layer. */
  readonly maxUncompressed?: number
}

/** Decompresses a blob into a directory, computing both digests and the toc on the way. */
export interface IndexTask {
  readonly kind: 'index'
  readonly region: FileRegion
  readonly compression: DecompressibleKind
  readonly digest: Digest | undefined
  readonly diffId: DiffId
  /** Gets the data file. */
  readonly directory: string
  readonly limits: LayerLimits
}

/** Computes digests of a region as it is. */
export interface HashTask {
  readonly kind: 'hash'
  readonly region: FileRegion
  readonly expected: readonly Digest[]
}

export type LayerTask = IndexTask | HashTask

/** Result of a task: the parts of an encoded toc, none for a hash task, which finds its digests right or fails. */
export type LayerResult = readonly Uint8Array[]

/** From the worker. */
export type WorkerMessage =
  | { readonly type: 'progress'; readonly done: number }
  | { readonly type: 'done'; readonly result: LayerResult }
  | { readonly type: 'failed'; readonly error: PackedError }

/** From the main thread: the worker cleans up and answers `failed`, or has so many bytes of its blob to read. */
export type MainMessage = 'abort' | { readonly arrived: number }

/** An error without its class. */
export interface PackedError {
  readonly code: ErrorCode | undefined
  readonly message: string
  readonly details: ErrorDetails
  readonly cause: PackedError | undefined
}

/** Takes an error apart, its causes too. */
export function packError(error: unknown, depth = 0): PackedError {
  const cause = error instanceof Error && depth < MAX_CAUSES ? error.cause : undefined
  return {
    code: isOcimountError(error) ? error.code : undefined,
    message: messageOf(error),
    details: isOcimountError(error) ? error.details : {},
    cause: cause === undefined ? undefined : packError(cause, depth + 1),
  }
}

/** Puts an error together; what was no {@link OcimountError} becomes a plain Error. */
export function unpackError({ code, message, details, cause: packed }: PackedError): Error {
  const cause = packed === undefined ? undefined : unpackError(packed)
  if (code !== undefined) return new OcimountError(code, message, { cause, details })
  return new Error(message, cause === undefined ? undefined : { cause })
}

const MAX_CAUSES = 4
