// What a failure is to a program that reads from a mount. The other table of codes is cli/exit-codes.ts.

import { constants } from 'node:os'
import { isOcimountError, systemErrorCode, type ErrorCode } from '../errors.js'

/** A name in errno.h. */
export type ErrnoName = keyof typeof constants.errno

/** The errno of every code; whatever says that bytes are missing or wrong is EIO. */
export const ERRNO_OF_CODE: Readonly<Record<ErrorCode, ErrnoName>> = {
  USAGE: 'EINVAL',
  REFERENCE_INVALID: 'EINVAL',
  IMAGE_AMBIGUOUS: 'EINVAL',
  IMAGE_INVALID: 'EIO',
  IMAGE_UNSUPPORTED: 'EOPNOTSUPP',
  TAR_CORRUPT: 'EIO',
  LAYER_CORRUPT: 'EIO',
  COMPRESSION_UNSUPPORTED: 'EOPNOTSUPP',
  LIMIT_EXCEEDED: 'EFBIG',
  BLOB_MISSING: 'EIO',
  FILE_NOT_FOUND: 'EIO',
  REFERENCE_NOT_FOUND: 'EIO',
  PLATFORM_NOT_FOUND: 'EIO',
  PATH_NOT_FOUND: 'ENOENT',
  USER_NOT_FOUND: 'ENOENT',
  DIGEST_MISMATCH: 'EIO',
  SIZE_MISMATCH: 'EIO',
  SOURCE_CHANGED: 'EIO',
  MOUNTPOINT_INVALID: 'EINVAL',
  MOUNT_BUSY: 'EBUSY',
  MOUNT_DENIED: 'EPERM',
  MOUNT_FAILED: 'EIO',
  NOT_MOUNTED: 'EINVAL',
  DRIVER_UNAVAILABLE: 'ENODEV',
  RUNTIME_FAILED: 'EIO',
  REGISTRY_UNAVAILABLE: 'EIO',
  REGISTRY_DENIED: 'EIO',
  CACHE_LOCKED: 'EIO',
  CACHE_CORRUPT: 'EIO',
  STORAGE_FULL: 'EIO',
  STORAGE_FAILED: 'EIO',
  INTERRUPTED: 'EINTR',
  INTERNAL: 'EIO',
}

/**
 * Gives the positive errno for whatever was thrown.
 *
 * Everything that is not an {@link OcimountError} is EIO: the errno of a system call of ours (a cache file that is
 * gone, ENOENT) would tell a reader something untrue about the file it reads.
 */
export function errnoOf(error: unknown): number {
  if (isOcimountError(error)) return constants.errno[ERRNO_OF_CODE[error.code]]
  return systemErrorCode(error) === 'ENOMEM' ? constants.errno.ENOMEM : constants.errno.EIO
}
