// Brings the path of a tar entry into the one form that the tree uses (checklist B-050, B-051, B-019).

import { escapeName, type ByteString } from '../byte-string.js'
import { OcimountError } from '../errors.js'

/** Longest name of one path component, in bytes: NAME_MAX of Linux and EROFS. */
export const MAX_NAME = 255

/** Longest path, in bytes. PATH_MAX of Linux is 4096 and counts the final NUL. */
export const MAX_PATH = 4095

/**
 * Gives a path without leading, trailing and doubled slashes and without `.` parts; the root is the empty string.
 *
 * A `..` part is refused even where it stays inside the root: what it means depends on symlinks of
 * other layers, and tools differ (DESIGN section 6).
 *
 * @throws OcimountError `LAYER_CORRUPT` for a `..` part or a NUL, `LIMIT_EXCEEDED` for a path or part that
 *   Linux could not name; the message shows the path
 */
export function cleanPath(path: ByteString): ByteString {
  // Most are, but for the slash that archivers put behind a directory.
  const trimmed = (path.endsWith('/') ? path.slice(0, -1) : path) as ByteString
  if (isCleanPath(trimmed)) return trimmed
  if (path.length > MAX_PATH * 2) throw tooLong(path, 'path', MAX_PATH)
  const parts: string[] = []
  let start = 0
  while (start <= path.length) {
    const slash = path.indexOf('/', start)
    const end = slash < 0 ? path.length : slash
    const length = end - start
    const isDot = length === 1 && path.charCodeAt(start) === DOT
    if (length > 0 && !isDot) {
      if (length > MAX_NAME) throw tooLong(path, 'name', MAX_NAME)
      if (length === 2 && path.startsWith('..', start)) throw refused(path, 'it has a ".." part')
      parts.push(path.slice(start, end))
    }
    start = end + 1
  }
  const cleaned = parts.join('/') as ByteString
  if (cleaned.length > MAX_PATH) throw tooLong(path, 'path', MAX_PATH)
  if (cleaned.includes('\0')) throw refused(path, 'it has a NUL byte')
  return cleaned
}

/**
 * Tells whether a path has names alone that nothing can be wrong with: in one pass, of which all is compiled before it is first called.
 * Paths that have it, clean ones among them, may be right all the same.
 */
export function isPlainPath(path: ByteString): boolean {
  return path.length <= MAX_NAME && !NOT_PLAIN.test(path)
}

/** A NUL; a name that is empty or begins with a dot. */
const NOT_PLAIN = /\0|(?:^|\/)(?:[./]|$)/

/** Tells whether {@link cleanPath} would give the path back as it is, without throwing. */
export function isCleanPath(path: ByteString): boolean {
  if (isPlainPath(path)) return true
  if (path.length > MAX_PATH || path.includes('\0')) return false
  if (path.length === 0) return true
  let start = 0
  while (start <= path.length) {
    const slash = path.indexOf('/', start)
    const end = slash < 0 ? path.length : slash
    const length = end - start
    if (length === 0 || length > MAX_NAME) return false
    if (path.charCodeAt(start) === DOT) {
      if (length === 1 || (length === 2 && path.charCodeAt(start + 1) === DOT)) return false
    }
    start = end + 1
  }
  return true
}

/** Gives a path for an error message: escaped, and cut where it is absurdly long. */
export function shownPath(path: ByteString): string {
  if (path.length <= SHOWN_PATH) return escapeName(path)
  return `${escapeName(path.slice(0, SHOWN_PATH) as ByteString)}… (${path.length} bytes)`
}

const DOT = 0x2e
const SHOWN_PATH = 256

function refused(path: ByteString, why: string): OcimountError {
  return new OcimountError('LAYER_CORRUPT', `Cannot use path "${shownPath(path)}": ${why}`)
}

function tooLong(path: ByteString, what: string, limit: number): OcimountError {
  return new OcimountError(
    'LIMIT_EXCEEDED',
    `Cannot use path "${shownPath(path)}": its ${what} is longer than ${limit} bytes`,
  )
}
