// System errors in the words of the project: what could not be done, to which file, and why.

import { escapeText } from '../byte-string.js'
import { isOcimountError, messageOf, OcimountError, systemErrorCode } from '../errors.js'

/**
 * Turns what a file operation threw into `Cannot <action> <path>: <why>`.
 *
 * No space and an exhausted quota are `STORAGE_FULL`, everything else is `STORAGE_FAILED`. An
 * {@link OcimountError} comes back as it is.
 */
export function storageError(error: unknown, action: string, path: string): OcimountError {
  if (isOcimountError(error)) return error
  const system = systemErrorCode(error)
  const why = (system === undefined ? undefined : REASONS.get(system)) ?? reasonOf(error)
  const code = system !== undefined && FULL.has(system) ? 'STORAGE_FULL' : 'STORAGE_FAILED'
  const details = system === undefined ? { path } : { path, errno: system }
  const message = `Cannot ${action} ${escapeText(path)}: ${why}`
  return new OcimountError(code, message, { cause: error, details })
}

/** Gives the error for work that its AbortSignal stopped. */
export function interruptedError(action: string, path: string, cause: unknown): OcimountError {
  return new OcimountError(
    'INTERRUPTED',
    `Cannot ${action} ${escapeText(path)}: it was interrupted`,
    {
      cause,
    },
  )
}

/** Makes the error for a file of the cache that is not what was written; `Cannot use <path>: <why>`. */
export function corruptError(path: string, why: string): OcimountError {
  return new OcimountError('CACHE_CORRUPT', `Cannot use ${escapeText(path)}: ${why}`, {
    details: { path, why },
  })
}

/** Tells whether a file operation failed because the file, or a directory on the way to it, is not there. */
export function isMissing(error: unknown): boolean {
  const code = systemErrorCode(error)
  return code === 'ENOENT' || code === 'ENOTDIR'
}

/** Tells whether a file operation failed because its target is already there. */
export function isExisting(error: unknown): boolean {
  const code = systemErrorCode(error)
  return code === 'EEXIST' || code === 'ENOTEMPTY'
}

const FULL: ReadonlySet<string> = new Set(['ENOSPC', 'EDQUOT'])
const REASONS: ReadonlyMap<string, string> = new Map([
  ['ENOSPC', 'no space left on the device'],
  ['EDQUOT', 'the disk quota is used up'],
  ['EROFS', 'the filesystem is read-only'],
  ['EACCES', 'permission denied'],
  ['EPERM', 'the operation is not permitted'],
  ['EIO', 'the disk reported an error'],
  ['ENOENT', 'there is no such file or directory'],
  ['ENOTDIR', 'a part of the path is not a directory'],
  ['EEXIST', 'there is one already'],
  ['ELOOP', 'it is a symbolic link'],
  ['EMFILE', 'too many files are open'],
  ['ENFILE', 'too many files are open on this machine'],
  ['EFBIG', 'the file would be larger than the filesystem or the limit of the process allows'],
])

function reasonOf(error: unknown): string {
  // Node writes `ESTALE: stale file handle, open '/a/b'`; the path is in our message already.
  return escapeText(messageOf(error).replace(/, \w+ '.*$/s, ''))
}
