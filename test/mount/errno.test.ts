import { constants } from 'node:os'
import t from 'tap'
import { OcimountError, type ErrorCode } from '../../src/errors.js'
import { ERRNO_OF_CODE, errnoOf } from '../../src/mount/errno.js'

const { EBUSY, EFBIG, EINTR, EINVAL, EIO, ENODEV, ENOENT, ENOMEM, EOPNOTSUPP, EPERM } =
  constants.errno

const WANT: Readonly<Record<ErrorCode, number>> = {
  USAGE: EINVAL,
  REFERENCE_INVALID: EINVAL,
  IMAGE_AMBIGUOUS: EINVAL,
  IMAGE_INVALID: EIO,
  IMAGE_UNSUPPORTED: EOPNOTSUPP,
  TAR_CORRUPT: EIO,
  LAYER_CORRUPT: EIO,
  COMPRESSION_UNSUPPORTED: EOPNOTSUPP,
  LIMIT_EXCEEDED: EFBIG,
  BLOB_MISSING: EIO,
  FILE_NOT_FOUND: EIO,
  REFERENCE_NOT_FOUND: EIO,
  PLATFORM_NOT_FOUND: EIO,
  PATH_NOT_FOUND: ENOENT,
  USER_NOT_FOUND: ENOENT,
  DIGEST_MISMATCH: EIO,
  SIZE_MISMATCH: EIO,
  SOURCE_CHANGED: EIO,
  MOUNTPOINT_INVALID: EINVAL,
  MOUNT_BUSY: EBUSY,
  MOUNT_DENIED: EPERM,
  MOUNT_FAILED: EIO,
  NOT_MOUNTED: EINVAL,
  RUNTIME_FAILED: EIO,
  DRIVER_UNAVAILABLE: ENODEV,
  REGISTRY_UNAVAILABLE: EIO,
  REGISTRY_DENIED: EIO,
  CACHE_LOCKED: EIO,
  CACHE_CORRUPT: EIO,
  STORAGE_FULL: EIO,
  STORAGE_FAILED: EIO,
  INTERRUPTED: EINTR,
  INTERNAL: EIO,
}

t.test('errnoOf() knows every code', async (t) => {
  const codes = Object.keys(ERRNO_OF_CODE) as ErrorCode[]
  const answers = codes.map((code) => [code, errnoOf(new OcimountError(code, 'Cannot'))])
  t.strictSame(Object.fromEntries(answers), WANT)
})

t.test('errnoOf() is EIO for what was not foreseen', async (t) => {
  const missing = Object.assign(new Error('no such file'), { code: 'ENOENT' })
  const memory = Object.assign(new Error('no memory'), { code: 'ENOMEM' })
  t.strictSame([missing, memory, new TypeError('x'), 'text', undefined].map(errnoOf), [
    EIO,
    ENOMEM,
    EIO,
    EIO,
    EIO,
  ])
})
