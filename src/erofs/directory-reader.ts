// Directories and links: content that is inside the image. See directory-block.ts for a block's layout.

import { byteString, type ByteString } from '../byte-string.js'
import { checkInside, corrupt } from './corrupt.js'
import {
  BLOCK_SIZE,
  DIRENT_SIZE,
  FILE_TYPES,
  LAYOUT_FLAT_INLINE,
  MAX_NAME_LENGTH,
  MAX_SYMLINK_LENGTH,
} from './format.js'
import { endOfXattrs, type StoredInode } from './inode-reader.js'

export interface ErofsDirent {
  readonly name: ByteString
  readonly nid: number
  /** The type bits of the inode's mode; `type >> 12` is what readdir calls `d_type`. */
  readonly type: number
  /** Where to go on after this entry; never 0. */
  readonly next: number
}

/** Reads one directory of an image; every offset is checked before it is followed. */
export class DirectoryReader {
  readonly #bytes: Buffer
  readonly #size: number
  /** Offset of the whole blocks, and how many bytes they are; what is left of the size is the tail. */
  readonly #blocksOffset: number
  readonly #blocksSize: number
  readonly #tailOffset: number
  // The block that was opened last.
  #start = 0
  #length = 0
  #count = 0

  /** @throws `CACHE_CORRUPT` when the content is not inside the first `imageSize` bytes. */
  constructor(bytes: Buffer, imageSize: number, inode: StoredInode) {
    this.#bytes = bytes
    this.#size = inode.size
    const tail = inode.layout === LAYOUT_FLAT_INLINE ? inode.size % BLOCK_SIZE : 0
    this.#blocksSize = inode.size - tail
    this.#blocksOffset = inode.union * BLOCK_SIZE
    this.#tailOffset = endOfXattrs(inode)
    if (this.#blocksSize > 0) {
      checkInside(this.#blocksOffset, this.#blocksSize, imageSize, 'a directory')
    }
    checkInside(this.#tailOffset, tail, imageSize, 'a directory')
  }

  /** Finds a name by halving, first the blocks, then the entries of one block. */
  find(name: ByteString): number | undefined {
    let low = 0
    let high = Math.ceil(this.#size / BLOCK_SIZE) - 1
    while (low < high) {
      // The last block whose first name is not above the one wanted.
      const middle = Math.ceil((low + high) / 2)
      this.#open(middle)
      if (this.#compare(name, 0) < 0) high = middle - 1
      else low = middle
    }
    this.#open(low)
    low = 0
    high = this.#count - 1
    while (low <= high) {
      const middle = (low + high) >> 1
      const order = this.#compare(name, middle)
      if (order === 0) return this.#nid(middle)
      if (order < 0) high = middle - 1
      else low = middle + 1
    }
    return undefined
  }

  /** Gives the entries in order, from the start or from the `next` of one of them. */
  *entries(from: number): Generator<ErofsDirent, void, undefined> {
    const firstBlock = Math.floor(from / BLOCK_SIZE)
    const blockCount = Math.ceil(this.#size / BLOCK_SIZE)
    let index = Math.ceil((from % BLOCK_SIZE) / DIRENT_SIZE)
    for (let block = firstBlock; block < blockCount; block++) {
      this.#open(block)
      for (; index < this.#count; index++) {
        const [nameStart, nameEnd] = this.#nameRange(index)
        const name = byteString(this.#bytes.subarray(nameStart, nameEnd))
        // Whoever joins names to paths relies on it.
        if (name.includes('/') || name.includes('\0'))
          throw corrupt(`the name at ${nameStart} is damaged`)
        yield {
          name,
          nid: this.#nid(index),
          type: this.#type(index),
          next: block * BLOCK_SIZE + (index + 1) * DIRENT_SIZE,
        }
      }
      index = 0
    }
  }

  /** Calls `visit` for each entry, `.` and `..` among them, with nid and type bits; the names are not looked at. */
  forEachTarget(visit: (nid: number, type: number) => void): void {
    const blockCount = Math.ceil(this.#size / BLOCK_SIZE)
    for (let block = 0; block < blockCount; block++) {
      this.#open(block)
      for (let index = 0; index < this.#count; index++) {
        visit(this.#nid(index), this.#type(index))
      }
    }
  }

  #open(block: number): void {
    const position = block * BLOCK_SIZE
    this.#start = position < this.#blocksSize ? this.#blocksOffset + position : this.#tailOffset
    this.#length = Math.min(BLOCK_SIZE, this.#size - position)
    if (this.#length < DIRENT_SIZE)
      throw corrupt(`the directory block at ${this.#start} is too short`)
    // The names follow the fixed parts, so the first name's offset tells how many entries there are.
    const namesStart = this.#bytes.readUInt16LE(this.#start + 8)
    if (namesStart === 0 || namesStart % DIRENT_SIZE !== 0 || namesStart > this.#length) {
      throw corrupt(`the directory block at ${this.#start} is damaged`)
    }
    this.#count = namesStart / DIRENT_SIZE
  }

  /** Gives where a name of the open block starts and ends in the image. */
  #nameRange(index: number): readonly [number, number] {
    const entry = this.#start + index * DIRENT_SIZE
    const start = this.#bytes.readUInt16LE(entry + 8)
    let end = this.#length
    if (index < this.#count - 1) end = this.#bytes.readUInt16LE(entry + DIRENT_SIZE + 8)
    else end = this.#endOfLastName(start)
    const length = end - start
    if (
      start < this.#count * DIRENT_SIZE ||
      end > this.#length ||
      length < 1 ||
      length > MAX_NAME_LENGTH
    ) {
      throw corrupt(`the name at ${this.#start + start} is damaged`)
    }
    return [this.#start + start, this.#start + end]
  }

  /** The last name of a block ends with the block or before the zeros that fill it. */
  #endOfLastName(start: number): number {
    let end = start
    while (end < this.#length && this.#bytes[this.#start + end] !== 0) end++
    return end
  }

  #compare(name: ByteString, index: number): number {
    const [start, end] = this.#nameRange(index)
    const common = Math.min(name.length, end - start)
    for (let offset = 0; offset < common; offset++) {
      const difference = name.charCodeAt(offset) - (this.#bytes[start + offset] ?? 0)
      if (difference !== 0) return difference
    }
    return name.length - (end - start)
  }

  #type(index: number): number {
    return FILE_TYPES[this.#bytes[this.#start + index * DIRENT_SIZE + 10] ?? 0] ?? 0
  }

  #nid(index: number): number {
    const entry = this.#start + index * DIRENT_SIZE
    if (this.#bytes.readUInt32LE(entry + 4) !== 0)
      throw corrupt(`the entry at ${entry} leads nowhere`)
    return this.#bytes.readUInt32LE(entry)
  }
}

/**
 * Reads the target of a symbolic link.
 *
 * @throws `CACHE_CORRUPT`
 */
export function readTarget(bytes: Buffer, imageSize: number, inode: StoredInode): ByteString {
  const offset = inode.layout === LAYOUT_FLAT_INLINE ? endOfXattrs(inode) : inode.union * BLOCK_SIZE
  if (inode.size > MAX_SYMLINK_LENGTH) throw corrupt(`the link of inode ${inode.nid} is too long`)
  checkInside(offset, inode.size, imageSize, 'the target of a link')
  return byteString(bytes.subarray(offset, offset + inode.size))
}
