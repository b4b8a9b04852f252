// Follows the path of a mount point through an image's tree, together with what is going to be added to it, and says
// what is missing at its end.

import { byteStringOf, type ByteString } from '../byte-string.js'
import { S_IFDIR, S_IFLNK, S_IFMT } from '../erofs/format.js'
import type { ErofsImage } from '../erofs/reader.js'
import { MAX_SYMLINKS } from '../rootfs/limits.js'

/** Where a path leads. */
export interface WalkedPath {
  /** From the root, symbolic links resolved; those of missing names are as given. */
  readonly parts: readonly ByteString[]
  /** How many of the first parts are directories of the image. The one behind them may be in the way. */
  readonly existing: number
  /** What is at {@link existing}, and is no directory, or the last part's own file; undefined where there is nothing. */
  readonly obstacle: number | undefined
}

export interface WalkPathOptions {
  /** Whether a link at the very end is an obstacle instead of being followed. */
  readonly keepLastLink: boolean
  /** Paths that were added to the tree, or replaced something: nothing of the image is below them. */
  readonly added: { readonly has: (path: string) => boolean }
}

/** Walks; undefined when the path goes through more links than the kernel follows. */
export function walkPath(
  image: ErofsImage,
  path: string,
  { keepLastLink, added }: WalkPathOptions,
): WalkedPath | undefined {
  const rest = splitPath(byteStringOf(path)).reverse()
  const parts: ByteString[] = []
  /** Inodes of the directories on the way, the root first; undefined from the first missing one on. */
  const nids: (number | undefined)[] = [image.rootNid]
  let links = 0
  let obstacle: { at: number; nid: number } | undefined
  for (let name = rest.pop(); name !== undefined; name = rest.pop()) {
    if (name === '..') {
      parts.pop()
      if (nids.length > 1) nids.pop()
      if (obstacle !== undefined && obstacle.at >= parts.length) obstacle = undefined
      continue
    }
    const nid = nids.at(-1)
    const isAdded = added.has([...parts, name].join('/'))
    const child = nid === undefined || isAdded ? undefined : image.lookup(nid, name)
    const kind = child === undefined ? undefined : image.inode(child).mode & S_IFMT
    if (child !== undefined && kind === S_IFLNK && !(keepLastLink && rest.length === 0)) {
      if (++links > MAX_SYMLINKS) return undefined
      const target = image.readlink(child)
      if (target.startsWith('/')) {
        parts.length = 0
        nids.length = 1
      }
      rest.push(...splitPath(target).reverse())
      continue
    }
    parts.push(name)
    if (child !== undefined && kind !== S_IFDIR) obstacle = { at: parts.length - 1, nid: child }
    nids.push(kind === S_IFDIR ? child : undefined)
  }
  const existing = nids.slice(1).findIndex((nid) => nid === undefined)
  return {
    parts,
    existing: existing < 0 ? parts.length : existing,
    obstacle: obstacle?.nid,
  }
}

function splitPath(path: ByteString): ByteString[] {
  return path.split('/').filter((part) => part !== '' && part !== '.') as ByteString[]
}
