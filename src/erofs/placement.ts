// Second pass of the writer: gives every inode, directory block and table its place, so that the image can
// be allocated once. Order on disk is tree order: a directory's blocks, then its new inodes, then the first
// subdirectory's; what a walk reads lies together.

import { OcimountError } from '../errors.js'
import {
  alignUp,
  BLOCK_SIZE,
  CHUNK_INDEX_SIZE,
  DEVICE_SLOT_SIZE,
  INODE_SIZE,
  INODE_SLOT_SIZE,
  ROOT_NID,
  S_IFLNK,
  S_IFMT,
} from './format.js'
import type { PlannedInode } from './planned-inode.js'
import type { PlannedTree } from './tree-walk.js'

export interface Placement {
  readonly deviceTableOffset: number
  /** 0 where nothing is shared. */
  readonly sharedXattrsOffset: number
  /** Bytes of the whole image. */
  readonly imageSize: number
}

/**
 * Places a tree. Each inode's `nid`, `blocksOffset` and `tailOffset` are set; the image's size is a multiple
 * of 4096, the page that the kernel reads it by.
 *
 * @throws `LIMIT_EXCEEDED` when the image, or the chunk indexes in it, would be too large to hold.
 */
export function placeTree(
  tree: PlannedTree,
  tables: { readonly deviceCount: number; readonly sharedXattrsSize: number },
): Placement {
  checkLimit(
    'chunks',
    tree.inodes.reduce((sum, inode) => sum + inode.chunkCount, 0),
    MAX_CHUNKS_OF_IMAGE,
  )
  const space = new Space(ROOT_NID * INODE_SLOT_SIZE)
  placeInode(tree.root, space)
  const deviceTableOffset = space.take(tables.deviceCount * DEVICE_SLOT_SIZE, DEVICE_SLOT_SIZE)
  const sharedXattrsOffset =
    tables.sharedXattrsSize === 0 ? 0 : space.take(tables.sharedXattrsSize, BLOCK_SIZE)
  for (const { inode, targets } of tree.directories) {
    placeBlocks(inode, space)
    for (const target of targets) {
      if (target.nid !== 0) continue
      placeInode(target, space)
      if (target.names === undefined) placeBlocks(target, space)
    }
  }
  const imageSize = alignUp(space.end, IMAGE_ALIGNMENT)
  checkLimit('bytes', imageSize, MAX_IMAGE_SIZE)
  return { deviceTableOffset, sharedXattrsOffset, imageSize }
}

/** What one Buffer of Node.js 20 can hold; some thirty million inodes. */
const MAX_IMAGE_SIZE = 2 ** 32
/** 256 MiB of chunk indexes. An index can be large for a sparse file that is small in the archive. */
const MAX_CHUNKS_OF_IMAGE = 2 ** 25
const IMAGE_ALIGNMENT = 4096

function checkLimit(what: string, count: number, limit: number): void {
  if (count <= limit) return
  throw new OcimountError(
    'LIMIT_EXCEEDED',
    `Cannot write an EROFS image: it would have ${count} ${what}, more than ${limit}`,
    { details: { count, limit } },
  )
}

/**
 * Hands out the image from front to back. What is left over before an aligned place is kept, one gap at a
 * time, for an inode that fits; it never spans two blocks, so whatever fits there is inside one.
 */
class Space {
  end: number
  #gapStart = 0
  #gapEnd = 0

  constructor(start: number) {
    this.end = start
  }

  /** Reserves `size` bytes at the first multiple of `alignment`. */
  take(size: number, alignment: number): number {
    return this.takeAt(alignUp(this.end, alignment), size)
  }

  /** Reserves `size` bytes at `offset`, which lies at or behind the end. */
  takeAt(offset: number, size: number): number {
    const start = Math.max(this.end, offset - (offset % BLOCK_SIZE || BLOCK_SIZE))
    if (offset - start > this.#gapEnd - this.#gapStart) {
      this.#gapStart = alignUp(start, INODE_SLOT_SIZE)
      this.#gapEnd = offset
    }
    this.end = offset + size
    return offset
  }

  /** Reserves inode slots in the gap, or gives undefined where it is too small. */
  takeFromGap(size: number): number | undefined {
    const start = this.#gapStart
    if (start + size > this.#gapEnd) return undefined
    this.#gapStart = alignUp(start + size, INODE_SLOT_SIZE)
    return start
  }
}

function placeInode(inode: PlannedInode, space: Space): void {
  const head = INODE_SIZE + (inode.xattrs?.size ?? 0)
  // An integer of the engine's, also where a size is too large to be one: all places are made of it.
  const tail = inode.chunkCount === 0 ? (inode.size % BLOCK_SIZE) | 0 : 0
  if (tail > 0) {
    const offset = takeWithTail(inode, head, tail, space)
    if (offset !== undefined) {
      inode.nid = offset / INODE_SLOT_SIZE
      inode.tailOffset = offset + head
      return
    }
  }
  const { chunkCount } = inode
  const size =
    chunkCount === 0 ? head : alignUp(head, CHUNK_INDEX_SIZE) + chunkCount * CHUNK_INDEX_SIZE
  inode.nid = (space.takeFromGap(size) ?? space.take(size, INODE_SLOT_SIZE)) / INODE_SLOT_SIZE
}

/**
 * Reserves an inode followed by its tail, which must be inside one block. Gives undefined where no offset
 * makes it so; then all of the content takes whole blocks.
 */
function takeWithTail(
  inode: PlannedInode,
  head: number,
  tail: number,
  space: Space,
): number | undefined {
  const gap = space.takeFromGap(head + tail)
  if (gap !== undefined && inode.size < BLOCK_SIZE) return gap
  // Kernels before 6.12 want the whole of a link in the block of its inode.
  const isLink = (inode.node.mode & S_IFMT) === S_IFLNK
  const [lead, length] = isLink ? [0, head + inode.size] : [head, tail]
  const fits = (offset: number): boolean => ((offset + lead) % BLOCK_SIZE) + length <= BLOCK_SIZE
  let offset = alignUp(space.end, INODE_SLOT_SIZE)
  if (!fits(offset)) {
    // No place leaves more of a block than the first one where the next block is reached.
    const left = BLOCK_SIZE - ((offset + lead) % BLOCK_SIZE)
    offset += alignUp(left, INODE_SLOT_SIZE)
    if (!fits(offset)) return undefined
  }
  return space.takeAt(offset, head + tail)
}

/** Reserves the whole blocks of a directory or symbolic link: all of its content that is not a tail. */
function placeBlocks(inode: PlannedInode, space: Space): void {
  if (inode.chunkCount > 0) return
  const size = inode.tailOffset === 0 ? inode.size : inode.size - (inode.size % BLOCK_SIZE)
  if (size > 0) inode.blocksOffset = space.take(alignUp(size, BLOCK_SIZE), BLOCK_SIZE)
}
