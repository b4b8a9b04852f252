// Answers from an EROFS image in memory what the kernel would answer from its mount. Nothing is decoded
// before it is asked for and nothing is kept; every offset from the image is checked before it is followed.

import type { ByteString } from '../byte-string.js'
import { OcimountError } from '../errors.js'
import { mapPieces, type ErofsPiece } from './chunk-reader.js'
import { DirectoryReader, readTarget, type ErofsDirent } from './directory-reader.js'
import { S_IFDIR, S_IFLNK, S_IFMT, S_IFREG } from './format.js'
import { readInode, type ErofsInode, type StoredInode } from './inode-reader.js'
import type { ErofsDevice } from './node.js'
import { readSuperblock, type Superblock } from './superblock-reader.js'
import { readXattrs } from './xattr-reader.js'

export type { ErofsPiece } from './chunk-reader.js'
export type { ErofsDirent } from './directory-reader.js'
export type { ErofsInode } from './inode-reader.js'

/**
 * A filesystem that `writeErofs` made.
 *
 * All methods throw `CACHE_CORRUPT` where the bytes are not what the writer makes; forged bytes can give
 * wrong answers, a directory inside itself for one, but neither a crash nor an endless loop in here. They
 * throw `INTERNAL` when an inode is asked for what its kind does not have. The buffer must not change.
 */
export class ErofsImage {
  readonly #bytes: Buffer
  readonly #superblock: Superblock

  /** Verifies the superblock; takes no copy. */
  constructor(bytes: Buffer) {
    this.#bytes = bytes
    this.#superblock = readSuperblock(bytes)
  }

  /** The image itself, and whatever follows it in the buffer; must not be changed. */
  get bytes(): Buffer {
    return this.#bytes
  }

  get rootNid(): number {
    return this.#superblock.rootNid
  }

  get inodeCount(): number {
    return this.#superblock.inodeCount
  }

  /** Bytes of the filesystem. */
  get size(): number {
    return this.#superblock.size
  }

  /** The device table; sizes are rounded up to 512 bytes. */
  get devices(): readonly ErofsDevice[] {
    return this.#superblock.devices
  }

  /** Gives what stat(2) tells of an inode. */
  inode(nid: number): ErofsInode {
    return readInode(this.#bytes, this.size, nid)
  }

  /** Gives the inode that a name in a directory leads to, `.` and `..` included, or undefined. */
  lookup(nid: number, name: ByteString): number | undefined {
    return this.#directory(nid).find(name)
  }

  /**
   * Gives the entries of a directory in bytewise order, `.` and `..` among them. `from` is 0 or the `next`
   * of the entry after which to go on.
   */
  readdir(nid: number, from = 0): IterableIterator<ErofsDirent> {
    checkPosition(from)
    return this.#directory(nid).entries(from)
  }

  /** Gives the target of a symbolic link. */
  readlink(nid: number): ByteString {
    return readTarget(this.#bytes, this.size, this.#inodeOf(nid, S_IFLNK))
  }

  /** Gives the names of an inode's extended attributes, in the order in which the kernel lists them. */
  listxattr(nid: number): ByteString[] {
    return Array.from(this.#xattrs(nid), ({ name }) => name)
  }

  /** Gives the value of an extended attribute as a view of the image, or undefined. */
  getxattr(nid: number, name: ByteString): Buffer | undefined {
    for (const xattr of this.#xattrs(nid)) if (xattr.name === name) return xattr.value
    return undefined
  }

  /**
   * Gives where the bytes of a stretch of a regular file are: pieces in order without gaps, cut off at the
   * end of the file, no piece for what lies behind it.
   */
  extents(nid: number, fileOffset: number, length: number): ErofsPiece[] {
    checkPosition(fileOffset)
    const inode = this.#inodeOf(nid, S_IFREG)
    return mapPieces(this.#bytes, this.size, { inode, devices: this.devices, fileOffset, length })
  }

  #directory(nid: number): DirectoryReader {
    return new DirectoryReader(this.#bytes, this.size, this.#inodeOf(nid, S_IFDIR))
  }

  #xattrs(nid: number): ReturnType<typeof readXattrs> {
    const { sharedXattrsOffset } = this.#superblock
    const inode = readInode(this.#bytes, this.size, nid)
    return readXattrs(this.#bytes, this.size, { inode, sharedXattrsOffset })
  }

  #inodeOf(nid: number, kind: number): StoredInode {
    const inode = readInode(this.#bytes, this.size, nid)
    if ((inode.mode & S_IFMT) === kind) return inode
    throw new OcimountError(
      'INTERNAL',
      `Cannot read inode ${nid} of an EROFS image: it is of another kind than asked for`,
    )
  }
}

function checkPosition(position: number): void {
  if (Number.isSafeInteger(position) && position >= 0) return
  throw new OcimountError('INTERNAL', `Cannot read an EROFS image: ${position} is not a position`)
}
