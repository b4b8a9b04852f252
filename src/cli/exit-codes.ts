// The one table from error codes to exit statuses (DESIGN section 9).

import { isOcimountError, type ErrorCode } from '../errors.js'

/** Exit statuses; scripts rely on them, so a number never changes its meaning. */
export const EXIT = {
  done: 0,
  unexpected: 1,
  usage: 2,
  image: 3,
  notFound: 4,
  verification: 5,
  mount: 6,
  registry: 7,
  storage: 8,
  /** `run` alone: whatever of ours failed, so that other statuses are the container's. */
  notRun: 125,
  interrupted: 130,
} as const

export type ExitStatus = (typeof EXIT)[keyof typeof EXIT]

const EXIT_STATUS: Readonly<Record<ErrorCode, ExitStatus>> = {
  USAGE: EXIT.usage,
  REFERENCE_INVALID: EXIT.usage,
  IMAGE_AMBIGUOUS: EXIT.usage,
  IMAGE_INVALID: EXIT.image,
  IMAGE_UNSUPPORTED: EXIT.image,
  TAR_CORRUPT: EXIT.image,
  LAYER_CORRUPT: EXIT.image,
  COMPRESSION_UNSUPPORTED: EXIT.image,
  LIMIT_EXCEEDED: EXIT.image,
  BLOB_MISSING: EXIT.image,
  FILE_NOT_FOUND: EXIT.notFound,
  REFERENCE_NOT_FOUND: EXIT.notFound,
  PLATFORM_NOT_FOUND: EXIT.notFound,
  PATH_NOT_FOUND: EXIT.notFound,
  USER_NOT_FOUND: EXIT.notFound,
  DIGEST_MISMATCH: EXIT.verification,
  SIZE_MISMATCH: EXIT.verification,
  SOURCE_CHANGED: EXIT.verification,
  MOUNTPOINT_INVALID: EXIT.mount,
  MOUNT_BUSY: EXIT.mount,
  MOUNT_DENIED: EXIT.mount,
  MOUNT_FAILED: EXIT.mount,
  NOT_MOUNTED: EXIT.mount,
  DRIVER_UNAVAILABLE: EXIT.mount,
  RUNTIME_FAILED: EXIT.notRun,
  REGISTRY_UNAVAILABLE: EXIT.registry,
  REGISTRY_DENIED: EXIT.registry,
  CACHE_LOCKED: EXIT.storage,
  CACHE_CORRUPT: EXIT.storage,
  STORAGE_FULL: EXIT.storage,
  STORAGE_FAILED: EXIT.storage,
  INTERRUPTED: EXIT.interrupted,
  INTERNAL: EXIT.unexpected,
}

/** Gives the exit status for whatever was thrown; 1 for what nobody foresaw. */
export function exitStatusOf(error: unknown): ExitStatus {
  return isOcimountError(error) ? exitStatusOfCode(error.code) : EXIT.unexpected
}

/** Gives the exit status of a code. */
export function exitStatusOfCode(code: ErrorCode): ExitStatus {
  return EXIT_STATUS[code]
}
