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

/** Writes a placed inode into an image of zeros; `number` is its 32-bit inode number, which nobody reads. */
export function writeInode(image: Buffer, inode: PlannedInode, number: number): void {
  const { node, xattrs } = inode
  const offset = inode.nid * INODE_SLOT_SIZE
  const layout = layoutOf(inode)
  image.writeUInt16LE(INODE_VERSION_EXTENDED | (layout << 1), offset + INODE.format)
  image.writeUInt16LE(node.mode, offset + INODE.mode)
  writeInt64(image, inode.size, offset + INODE.size)
  image.writeUInt32LE(unionOf(inode), offset + INODE.union)
  image.writeUInt32LE(number, offset + INODE.ino)
  image.writeUInt32LE(node.uid, offset + INODE.uid)
  image.writeUInt32LE(node.gid, offset + INODE.gid)
  writeInt64(image, node.mtimeSeconds, offset + INODE.mtime)
  image.writeUInt32LE(node.mtimeNanoseconds, offset + INODE.mtimeNsec)
  image.writeUInt32LE(inode.linkCount, offset + INODE.nlink)
  let end = offset + INODE_SIZE
  if (xattrs !== undefined) {
    // The header stands for one count, every 4 bytes behind it for one more.
    image.writeUInt16LE((xattrs.size - 12) / 4 + 1, offset + INODE.xattrIcount)
    writeXattrSet(image, end, xattrs)
    end += xattrs.size
  }
  if (inode.chunkCount > 0) writeChunkIndex(image, alignUp(end, CHUNK_INDEX_SIZE), inode)
  if (node.target !== undefined && inode.size > 0) {
    image.write(node.target, inode.tailOffset || inode.blocksOffset, 'latin1')
  }
}

/** Writes the entries of a directory whose targets are all placed. */
export function writeDirectory(image: Buffer, { inode, names, targets }: PlannedDirectory): void {
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
export function writeInt64(image: Buffer, value: number, offset: number): void {
  image.writeUInt32LE(value >>> 0, offset)
  image.writeInt32LE(Math.floor(value / 2 ** 32), offset + 4)
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

function writeChunkIndex(image: Buffer, indexOffset: number, inode: PlannedInode): void {
  const { node, chunkBits, chunkCount } = inode
  const chunkSize = 2 ** chunkBits
  for (let chunk = 0; chunk < chunkCount; chunk++) {
    image.writeUInt32LE(NULL_BLKADDR, indexOffset + chunk * CHUNK_INDEX_SIZE + 4)
  }
  for (const { fileOffset, device, deviceOffset, length } of node.extents ?? []) {
    // An extent that does not start with a chunk continues the one before it, which has written this chunk.
    let chunk = Math.ceil(fileOffset / chunkSize)
    for (; chunk * chunkSize < fileOffset + length; chunk++) {
      const position = indexOffset + chunk * CHUNK_INDEX_SIZE
      image.writeUInt16LE(device + 1, position + 2)
      const start = deviceOffset + chunk * chunkSize - fileOffset
      image.writeUInt32LE(start / BLOCK_SIZE, position + 4)
    }
  }
}
