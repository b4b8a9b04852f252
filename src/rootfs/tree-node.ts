// The nodes of the tree while layers are applied to it: what the EROFS writer takes, and two facts that
// only the union needs.

import type { ByteString } from '../byte-string.js'
import type { ErofsExtent, ErofsNode } from '../erofs/node.js'
import { S_IFBLK, S_IFCHR, S_IFDIR, S_IFIFO, S_IFLNK, S_IFMT, S_IFREG } from '../erofs/format.js'
import type { TocEntry } from '../layer/toc.js'

/** An inode under construction; hard links hold the same object. A directory has no map until its first child. */
export interface TreeNode extends ErofsNode {
  children?: Map<ByteString, TreeNode>
  /** The layer whose entry gave the attributes; {@link NO_LAYER} where none did. */
  layer: number
  /** Whether a hard link was ever made to it, so that it may be met more than once. */
  isLinked: boolean
}

/** The `layer` of the first root and of directories that entries only imply. */
export const NO_LAYER = -1

type Xattrs = TreeNode['xattrs']

/** Makes a directory that no entry describes: 0755, root's, 1970 (B-039, B-054). */
export function impliedDirectory(): TreeNode {
  return {
    mode: S_IFDIR | 0o755,
    uid: 0,
    gid: 0,
    mtimeSeconds: 0,
    mtimeNanoseconds: 0,
    xattrs: undefined,
    layer: NO_LAYER,
    isLinked: false,
  }
}

export function directoryNode(entry: TocEntry, xattrs: Xattrs, layer: number): TreeNode {
  return attributes(entry, S_IFDIR, xattrs, layer)
}

/** Gives an existing directory the attributes of an entry; its children stay (B-030, B-031). */
export function redescribeDirectory(
  node: TreeNode,
  entry: TocEntry,
  xattrs: Xattrs,
  layer: number,
): void {
  node.mode = S_IFDIR | (entry.mode & PERMISSIONS)
  node.uid = entry.uid
  node.gid = entry.gid
  node.mtimeSeconds = entry.mtime.seconds
  node.mtimeNanoseconds = entry.mtime.nanoseconds
  node.xattrs = xattrs
  node.layer = layer
}

export function fileNode(
  entry: TocEntry,
  xattrs: Xattrs,
  layer: number,
  extents: readonly ErofsExtent[],
): TreeNode {
  // One literal: fields added afterwards would cost every file a second object.
  return {
    mode: S_IFREG | (entry.mode & PERMISSIONS),
    uid: entry.uid,
    gid: entry.gid,
    mtimeSeconds: entry.mtime.seconds,
    mtimeNanoseconds: entry.mtime.nanoseconds,
    xattrs,
    layer,
    isLinked: false,
    size: entry.size,
    extents,
  }
}

/** Makes a symbolic link; its mode is 0777 whatever the entry says (B-015). */
export function symlinkNode(entry: TocEntry, xattrs: Xattrs, layer: number): TreeNode {
  const node = attributes(entry, S_IFLNK, xattrs, layer)
  node.mode = S_IFLNK | 0o777
  node.target = entry.linkTarget
  return node
}

export function fifoNode(entry: TocEntry, xattrs: Xattrs, layer: number): TreeNode {
  return attributes(entry, S_IFIFO, xattrs, layer)
}

export function deviceNode(entry: TocEntry, xattrs: Xattrs, layer: number): TreeNode {
  const node = attributes(entry, entry.type === 'char' ? S_IFCHR : S_IFBLK, xattrs, layer)
  node.devMajor = entry.devMajor
  node.devMinor = entry.devMinor
  return node
}

/** Makes what holds the name of a hard link until its target is known; it is never part of a finished tree. */
export function placeholderNode(entry: TocEntry, layer: number): TreeNode {
  return attributes(entry, S_IFREG, undefined, layer)
}

export function isDirectory(node: ErofsNode): boolean {
  return (node.mode & S_IFMT) === S_IFDIR
}

export function isSymlink(node: ErofsNode): boolean {
  return (node.mode & S_IFMT) === S_IFLNK
}

export function isRegularFile(node: ErofsNode): boolean {
  return (node.mode & S_IFMT) === S_IFREG
}

/** Tells a character device 0:0, by which overlayfs marks a deleted name. */
export function isOverlayWhiteout(node: ErofsNode): boolean {
  return (node.mode & S_IFMT) === S_IFCHR && node.devMajor === 0 && node.devMinor === 0
}

const PERMISSIONS = 0o7777

function attributes(entry: TocEntry, type: number, xattrs: Xattrs, layer: number): TreeNode {
  return {
    mode: type | (entry.mode & PERMISSIONS),
    uid: entry.uid,
    gid: entry.gid,
    mtimeSeconds: entry.mtime.seconds,
    mtimeNanoseconds: entry.mtime.nanoseconds,
    xattrs,
    layer,
    isLinked: false,
  }
}
