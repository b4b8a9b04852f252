// The bytes of one inode and of what belongs to it: attributes, chunk index, directory blocks, link target.

import { endOfBlock, writeDirectoryBlock } from './directory-block.js'
import {
  alignUp,
  BLOCK_BITS,
  BLOCK_SIZE,
  CHUNK_FORMAT_INDEXES,
  CHUNK_INDEX_SIZE,
  encodeDev,
  INODE,
  INODE_SIZE,
  INODE_SLOT_SIZE,
  INODE_VERSION_EXTENDED,
  LAYOUT_CHUNK_BASED,
  LAYOUT_FLAT_INLINE,
  LAYOUT_FLAT_PLAIN,
  NULL_BLKADDR,
  S_IFBLK,
  S_IFCHR,
  S_IFMT,
} from './format.js'
import type { PlannedInode } from './planned-inode.js'
import type { PlannedDirectory } from './tree-walk.js'
import { writeXattrSet } from './xattr-table.js'

/** An image under construction, with the view that numbers go through: the methods of Buffer take twice as long. */
export interface ImageBytes {
  readonly bytes: Buffer
  readonly view: DataView
}

/** Writes a placed inode into an image of zeros; `number` is its 32-bit inode number, which nobody reads. */
export function writeInode(image: ImageBytes, inode: PlannedInode, number: number): void {
  const { view } = image
  const { node, xattrs } = inode
  const offset = inode.nid * INODE_SLOT_SIZE
  const layout = layoutOf(inode)
  view.setUint16(offset + INODE.format, INODE_VERSION_EXTENDED | (layout << 1), true)
  view.setUint16(offset + INODE.mode, node.mode, true)
  writeInt64(view, inode.size, offset + INODE.size)
  view.setUint32(offset + INODE.union, unionOf(inode), true)
  view.setUint32(offset + INODE.ino, number, true)
  view.setUint32(offset + INODE.uid, node.uid, true)
  view.setUint32(offset + INODE.gid, node.gid, true)
  writeInt64(view, node.mtimeSeconds, offset + INODE.mtime)
  view.setUint32(offset + INODE.mtimeNsec, node.mtimeNanoseconds, true)
  view.setUint32(offset + INODE.nlink, inode.linkCount, true)
  let end = offset + INODE_SIZE
  if (xattrs !== undefined) {
    // The header stands for one count, every 4 bytes behind it for one more.
    view.setUint16(offset + INODE.xattrIcount, (xattrs.size - 12) / 4 + 1, true)
    writeXattrSet(image.bytes, end, xattrs)
    end += xattrs.size
  }
  if (inode.chunkCount > 0) writeChunkIndex(view, alignUp(end, CHUNK_INDEX_SIZE), inode)
  if (node.target !== undefined && inode.size > 0) {
    image.bytes.write(node.target, inode.tailOffset || inode.blocksOffset, 'latin1')
  }
}

/** Writes the entries of a directory whose targets are all placed. */
export function writeDirectory(
  image: ImageBytes,
  { inode, names, targets }: PlannedDirectory,
): void {
  const tailStart = inode.tailOffset === 0 ? Infinity : inode.size - (inode.size % BLOCK_SIZE)
  let position = 0
  for (let start = 0; start < names.length; position += BLOCK_SIZE) {
    const end = endOfBlock(names, start)
    const offset = position === tailStart ? inode.tailOffset : inode.blocksOffset + position
    writeDirectoryBlock(image, offset, { names, targets, start, end })
    start = end
  }
}

/** Writes a signed 64-bit number that is a safe integer. */
export function writeInt64(view: DataView, value: number, offset: number): void {
  view.setUint32(offset, value >>> 0, true)
  view.setInt32(offset + 4, Math.floor(value / 2 ** 32), true)
}

function layoutOf(inode: PlannedInode): number {
  if (inode.chunkCount > 0) return LAYOUT_CHUNK_BASED
  return inode.tailOffset === 0 ? LAYOUT_FLAT_PLAIN : LAYOUT_FLAT_INLINE
}

function unionOf({ node, chunkBits, chunkCount, blocksOffset }: PlannedInode): number {
  if (chunkCount > 0) return CHUNK_FORMAT_INDEXES | (chunkBits - BLOCK_BITS)
  const kind = node.mode & S_IFMT
  if (kind === S_IFCHR || kind === S_IFBLK) return encodeDev(node.devMajor ?? 0, node.devMinor ?? 0)
  return blocksOffset / BLOCK_SIZE
}

function writeChunkIndex(view: DataView, indexOffset: number, inode: PlannedInode): void {
  const { node, chunkBits, chunkCount } = inode
  const chunkSize = 2 ** chunkBits
  for (let chunk = 0; chunk < chunkCount; chunk++) {
    view.setUint32(indexOffset + chunk * CHUNK_INDEX_SIZE + 4, NULL_BLKADDR, true)
  }
  for (const { fileOffset, device, deviceOffset, length } of node.extents ?? []) {
    // An extent that does not start with a chunk continues the one before it, which has written this chunk.
    let chunk = Math.ceil(fileOffset / chunkSize)
    for (; chunk * chunkSize < fileOffset + length; chunk++) {
      const position = indexOffset + chunk * CHUNK_INDEX_SIZE
      view.setUint16(position + 2, device + 1, true)
      const start = deviceOffset + chunk * chunkSize - fileOffset
      view.setUint32(position + 4, start / BLOCK_SIZE, true)
    }
  }
}
