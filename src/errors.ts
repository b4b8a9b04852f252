// The one error class of the project and the closed list of its codes. Two tables map a code further:
// cli/exit-codes.ts to an exit status, mount/errno.ts to a kernel errno.

/**
 * Stable name of a failure.
 *
 * A code says what kind of thing went wrong, the message says to what and why. Adding a code means adding
 * a row to both tables; the compiler and a test insist on it.
 */
export type ErrorCode =
  | 'USAGE'
  | 'REFERENCE_INVALID'
  | 'IMAGE_AMBIGUOUS'
  | 'IMAGE_INVALID'
  | 'IMAGE_UNSUPPORTED'
  | 'TAR_CORRUPT'
  | 'LAYER_CORRUPT'
  | 'COMPRESSION_UNSUPPORTED'
  | 'LIMIT_EXCEEDED'
  | 'BLOB_MISSING'
  | 'FILE_NOT_FOUND'
  | 'REFERENCE_NOT_FOUND'
  | 'PLATFORM_NOT_FOUND'
  | 'PATH_NOT_FOUND'
  | 'USER_NOT_FOUND'
  | 'DIGEST_MISMATCH'
  | 'SIZE_MISMATCH'
  | 'SOURCE_CHANGED'
  | 'MOUNTPOINT_INVALID'
  | 'MOUNT_BUSY'
  | 'MOUNT_DENIED'
  | 'MOUNT_FAILED'
  | 'NOT_MOUNTED'
  | 'DRIVER_UNAVAILABLE'
  | 'RUNTIME_FAILED'
  | 'REGISTRY_UNAVAILABLE'
  | 'REGISTRY_DENIED'
  | 'CACHE_LOCKED'
  | 'CACHE_CORRUPT'
  | 'STORAGE_FULL'
  | 'STORAGE_FAILED'
  | 'INTERRUPTED'
  | 'INTERNAL'

/** Facts that a program may want beside the message; every value is safe to print as JSON. */
export type ErrorDetails = Readonly<Record<string, string | number | boolean | readonly string[]>>

/**
 * A failure that ocimount foresaw.
 *
 * The message is one line of the form `Cannot <do what> <to what>: <why>`, without a trailing period; names
 * in it that come from an image were escaped by whoever made it (see {@link escapeName} in byte-string.ts).
 */
export class OcimountError extends Error {
  readonly code: ErrorCode
  readonly details: ErrorDetails

  constructor(
    code: ErrorCode,
    message: string,
    options: { cause?: unknown; details?: ErrorDetails } = {},
  ) {
    super(message, options.cause === undefined ? undefined : { cause: options.cause })
    this.code = code
    this.details = options.details ?? {}
  }
}
Object.defineProperty(OcimountError.prototype, 'name', { value: 'OcimountError' })

/** Tells whether a thrown value is an {@link OcimountError}, optionally with one of the given codes. */
export function isOcimountError(value: unknown, ...codes: ErrorCode[]): value is OcimountError {
  return value instanceof OcimountError && (codes.length === 0 || codes.includes(value.code))
}

/** Gives the `code` of a Node.js system error (`ENOENT`, …), or undefined for anything else. */
export function systemErrorCode(value: unknown): string | undefined {
  if (!(value instanceof Error) || !('code' in value)) return undefined
  return typeof value.code === 'string' ? value.code : undefined
}

/** Gives the message of whatever was thrown. */
export function messageOf(value: unknown): string {
  return value instanceof Error ? value.message : String(value)
}
