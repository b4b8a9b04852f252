// What every entry of a layer must satisfy before it is applied. The layer's index has cleaned the paths
// already; this is the last door before the tree, so it trusts nobody (S-01, S-23).

import { escapeName, type ByteString } from '../byte-string.js'
import { MAX_SYMLINK_LENGTH } from '../erofs/format.js'
import { isPlainPath } from '../layer/clean-path.js'
import type { TocEntry } from '../layer/toc.js'
import { entryError, MAX_NAME, MAX_PATH } from './limits.js'

/** What aufs keeps in the root of a branch: `.wh..wh.plnk`, `.wh..wh.orph`, `.wh..wh.aufs` (B-085). */
export const AUFS_PREFIX = '.wh..wh.'

/**
 * Refuses an entry that no extractor could apply.
 *
 * @param layer number of the layer, for the message
 * @param deviceSize bytes of the layer's stream, in which the content must lie
 * @throws `TAR_CORRUPT`
 */
export function checkEntry(entry: TocEntry, layer: number, deviceSize: number): void {
  const why = pathProblem(entry) ?? typeProblem(entry, deviceSize)
  if (why !== undefined) throw entryError(layer, entry.path, why)
}

function pathProblem({ path, type }: TocEntry): string | undefined {
  if (path === '' || isPlainPath(path)) return undefined
  if (path.length >= MAX_PATH) return `its path is longer than ${MAX_PATH - 1} bytes`
  if (path.includes('\0')) return 'its path has a NUL byte'
  for (let start = 0; start <= path.length;) {
    const slash = path.indexOf('/', start)
    const end = slash === -1 ? path.length : slash
    const length = end - start
    if (length === 0) return UNCLEAN
    if (length > MAX_NAME) return `a name in its path is longer than ${MAX_NAME} bytes`
    if (path.charCodeAt(start) === DOT) {
      const isAll = length === 1 || (length === 2 && path.charCodeAt(start + 1) === DOT)
      if (isAll) return UNCLEAN
      if (path.startsWith('.wh.', start)) {
        if (start === 0 && path.startsWith(AUFS_PREFIX)) return undefined
        // `.wh..wh.x` hides `.wh.x`, which nobody can have made (B-087).
        if (type !== 'whiteout' || end !== path.length) {
          const part = path.slice(start, end) as ByteString
          return `"${escapeName(part)}" in its path is the name of a whiteout`
        }
      }
    }
    start = end + 1
  }
  return undefined
}

const DOT = 0x2e
const UNCLEAN = 'its path has an empty part, "." or ".."'

function typeProblem(entry: TocEntry, deviceSize: number): string | undefined {
  if (!isId(entry.uid) || !isId(entry.gid)) return 'its owner is out of range'
  switch (entry.type) {
    case 'symlink': {
      const { length } = entry.linkTarget
      if (length === 0) return 'a symbolic link needs a target'
      if (length > MAX_SYMLINK_LENGTH)
        return `its target is longer than ${MAX_SYMLINK_LENGTH} bytes`
      return entry.linkTarget.includes('\0') ? 'its target has a NUL byte' : undefined
    }
    case 'hardlink':
      return entry.linkTarget.length >= MAX_PATH
        ? `its target is longer than ${MAX_PATH - 1} bytes`
        : undefined
    case 'char':
    case 'block':
      // Linux keeps 12 bits of the one and 20 of the other (B-011).
      return isBelow(entry.devMajor, 1 << 12) && isBelow(entry.devMinor, 1 << 20)
        ? undefined
        : 'its device number is out of range'
    case 'file':
      return contentProblem(entry, deviceSize)
    case 'directory':
    case 'fifo':
    case 'whiteout':
    case 'opaque':
      return undefined
  }
}

function contentProblem(entry: TocEntry, deviceSize: number): string | undefined {
  if (!isBelow(entry.size, Number.MAX_SAFE_INTEGER)) return 'its size is out of range'
  if (entry.sparse === undefined) {
    const isInside =
      entry.size <= deviceSize && isBelow(entry.dataOffset, deviceSize - entry.size + 1)
    return isInside || entry.size === 0 ? undefined : OUTSIDE
  }
  let end = 0
  for (const { fileOffset, deviceOffset, length } of entry.sparse) {
    if (!isBelow(length, entry.size + 1)) return BAD_MAP
    if (!isBelow(fileOffset, entry.size - length + 1) || fileOffset < end) return BAD_MAP
    if (length > deviceSize || !isBelow(deviceOffset, deviceSize - length + 1)) return OUTSIDE
    end = fileOffset + length
  }
  return undefined
}

const OUTSIDE = 'its content lies outside its layer'
const BAD_MAP = 'its map of data is not ascending, overlaps or leaves the file'

function isId(value: number): boolean {
  return isBelow(value, 2 ** 32)
}

function isBelow(value: number, limit: number): boolean {
  return Number.isSafeInteger(value) && value >= 0 && value < limit
}
