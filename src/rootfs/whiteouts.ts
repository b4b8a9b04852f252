// The first of the two passes over a layer: what its whiteouts hide. They speak of the lower layers alone,
// so they act before any entry of their own layer does, wherever they stand in it (B-072 to B-076), and in
// the order of their paths, so that their own order in the archive does not count either.

import type { ByteString } from '../byte-string.js'
import type { TocEntry } from '../layer/toc.js'
import { AUFS_PREFIX } from './check-entry.js'
import { entryError, MAX_SYMLINKS } from './limits.js'
import { isSymlink, type TreeNode } from './tree-node.js'
import {
  baseOf,
  parentOf,
  type IsLinkGone,
  type TreeWalker,
  type WalkSubject,
} from './tree-walker.js'

export interface WhiteoutContext {
  readonly layer: number
  readonly walker: TreeWalker
}

/**
 * Removes what the whiteouts of a layer hide from the tree of the layers below it.
 *
 * Parents are resolved in that tree (B-089), with one exception: a symbolic link that the layer replaces by
 * something else is not followed. An overlay directory made where a link was is written as `lib/` and
 * `lib/.wh..wh..opq`, and must not empty what the link pointed to.
 *
 * An opaque marker implies its directory (B-077), unless something that is no directory is there (B-078).
 */
export function applyWhiteouts(entries: readonly TocEntry[], context: WhiteoutContext): void {
  const whiteouts = entries.filter(
    ({ type, path }) => (type === 'whiteout' || type === 'opaque') && !path.startsWith(AUFS_PREFIX),
  )
  if (whiteouts.length === 0) return
  whiteouts.sort(byPath)
  const { walker, layer } = context
  const isLinkGone = findReplacedLinks(entries, whiteouts, context)
  for (const entry of whiteouts) {
    if (entry.type === 'opaque') {
      if (walker.walk(entry.path, subject(layer, entry), isLinkGone)) {
        walker.directory?.children?.clear()
      }
      continue
    }
    if (entry.path === '') throw entryError(layer, entry.path, 'it would remove the root')
    if (walker.walk(parentOf(entry.path), subject(layer, entry), isLinkGone)) {
      walker.directory?.children?.delete(baseOf(entry.path))
    }
  }
  for (const entry of whiteouts) {
    if (entry.type !== 'opaque') continue
    if (walker.walk(entry.path, subject(layer, entry), isLinkGone) && !walker.isBlocked) {
      walker.make(subject(layer, entry), neverReplaces)
    }
  }
}

function byPath(a: TocEntry, b: TocEntry): number {
  if (a.path !== b.path) return a.path < b.path ? -1 : 1
  // `.wh.d` before `d/.wh..wh..opq`: the marker makes a new directory of what the other removed.
  return a.type === b.type ? 0 : a.type === 'whiteout' ? -1 : 1
}

function subject(layer: number, entry: TocEntry): WalkSubject {
  return { layer, path: entry.path }
}

function neverReplaces(): never {
  throw new RangeError('a blocked walk is not made')
}

/**
 * Tells which links of the lower tree the layer has an entry for. One that is only written anew as a link
 * still counts as the old one. Links on the way of a whiteout are rare: without any, no entry is looked at.
 */
function findReplacedLinks(
  entries: readonly TocEntry[],
  whiteouts: readonly TocEntry[],
  { layer, walker }: WhiteoutContext,
): IsLinkGone {
  const replaced = new Map<TreeNode, Set<ByteString>>()
  const meetsLink = (entry: TocEntry): boolean => {
    const path = entry.type === 'opaque' ? entry.path : parentOf(entry.path)
    return !walker.walk(path, subject(layer, entry), isAnyLink)
  }
  if (whiteouts.some(meetsLink)) {
    for (const entry of entries) {
      if (entry.type === 'whiteout' || entry.type === 'opaque' || entry.type === 'symlink') continue
      let links = 0
      // A circle of links may be one that the layer itself breaks up, hence no error yet.
      const isEndless = (): boolean => ++links > MAX_SYMLINKS
      if (!walker.walk(parentOf(entry.path), subject(layer, entry), isEndless)) continue
      const parent = walker.directory
      const name = baseOf(entry.path)
      const child = parent?.children?.get(name)
      if (parent === undefined || child === undefined || !isSymlink(child)) continue
      const names = replaced.get(parent) ?? new Set()
      replaced.set(parent, names.add(name))
    }
  }
  return (parent, name) => replaced.get(parent)?.has(name) === true
}

function isAnyLink(): boolean {
  return true
}
