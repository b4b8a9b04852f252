import { checkInside, corrupt, readInt64 } from './corrupt.js'
import {
  BLOCK_SIZE,
  FILE_TYPES,
  INODE,
  INODE_SIZE,
  INODE_SLOT_SIZE,
  INODE_VERSION_EXTENDED,
  LAYOUT_CHUNK_BASED,
  LAYOUT_FLAT_INLINE,
  LAYOUT_FLAT_PLAIN,
  S_IFBLK,
  S_IFCHR,
  S_IFDIR,
  S_IFLNK,
  S_IFMT,
  S_IFREG,
  XATTR_HEADER_SIZE,
} from './format.js'

/** What stat(2) tells of an inode, as the kernel's own mount of the image would. */
export interface ErofsInode {
  /** Address of the inode, and its `st_ino`. */
  readonly nid: number
  /** Full `st_mode`, type bits included. */
  readonly mode: number
  readonly uid: number
  readonly gid: number
  readonly mtimeSeconds: number
  readonly mtimeNanoseconds: number
  readonly nlink: number
  readonly size: number
  /** `st_rdev` of a device file: 12 bits of major, 20 bits of minor number in Linux's own order; else 0. */
  readonly rdev: number
  /** `st_blocks`, in units of 512 bytes; holes count. */
  readonly blocks: number
}

/** An inode and where to find what belongs to it. */
export interface StoredInode extends ErofsInode {
  readonly layout: number
  /** The field that holds a start block, a device number or a chunk format. */
  readonly union: number
  readonly xattrsOffset: number
  /** Bytes of the extended attributes behind the inode; 0 where it has none. */
  readonly xattrsSize: number
}

/**
 * Decodes the inode with the given address from the first `size` bytes.
 *
 * @throws `CACHE_CORRUPT`
 */
export function readInode(bytes: Buffer, size: number, nid: number): StoredInode {
  const offset = nid * INODE_SLOT_SIZE
  if (!Number.isInteger(nid) || nid <= 0) throw corrupt(`${nid} is not an inode`)
  checkInside(offset, INODE_SIZE, size, 'an inode')
  const format = bytes.readUInt16LE(offset + INODE.format)
  const mode = bytes.readUInt16LE(offset + INODE.mode)
  const contentSize = readInt64(bytes, offset + INODE.size)
  const layout = format >> 1
  if ((format & 1) !== INODE_VERSION_EXTENDED || !isLayoutOfKind(layout, mode, contentSize)) {
    throw corrupt(`the inode at ${offset} has a form that is never written`)
  }
  const union = bytes.readUInt32LE(offset + INODE.union)
  const xattrCount = bytes.readUInt16LE(offset + INODE.xattrIcount)
  const xattrsSize = xattrCount === 0 ? 0 : XATTR_HEADER_SIZE + 4 * (xattrCount - 1)
  checkInside(offset + INODE_SIZE, xattrsSize, size, 'a set of extended attributes')
  return {
    nid,
    mode,
    uid: bytes.readUInt32LE(offset + INODE.uid),
    gid: bytes.readUInt32LE(offset + INODE.gid),
    mtimeSeconds: readInt64(bytes, offset + INODE.mtime),
    mtimeNanoseconds: bytes.readUInt32LE(offset + INODE.mtimeNsec),
    nlink: bytes.readUInt32LE(offset + INODE.nlink),
    size: contentSize,
    rdev: isDevice(mode) ? union : 0,
    blocks: Math.ceil(contentSize / BLOCK_SIZE),
    layout,
    union,
    xattrsOffset: offset + INODE_SIZE,
    xattrsSize,
  }
}

/** Gives where the tail or, after alignment, the chunk index of an inode starts. */
export function endOfXattrs(inode: StoredInode): number {
  return inode.xattrsOffset + inode.xattrsSize
}

function isDevice(mode: number): boolean {
  const kind = mode & S_IFMT
  return kind === S_IFCHR || kind === S_IFBLK
}

function isLayoutOfKind(layout: number, mode: number, size: number): boolean {
  const kind = mode & S_IFMT
  if (size < 0) return false
  if (kind === S_IFREG) return layout === (size === 0 ? LAYOUT_FLAT_PLAIN : LAYOUT_CHUNK_BASED)
  if (kind === S_IFDIR || kind === S_IFLNK) {
    return size > 0 && (layout === LAYOUT_FLAT_PLAIN || layout === LAYOUT_FLAT_INLINE)
  }
  return size === 0 && layout === LAYOUT_FLAT_PLAIN && kind !== 0 && FILE_TYPES.includes(kind)
}
