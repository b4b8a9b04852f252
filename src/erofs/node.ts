// The tree that the EROFS writer takes: inodes and names, nothing of tar or OCI.

import type { ByteString } from '../byte-string.js'

/** A stretch of content that lies on a device; what a file's extents leave out is zeros. */
export interface ErofsExtent {
  readonly fileOffset: number
  /** 0-based number of the device in the list given to the writer. */
  readonly device: number
  readonly deviceOffset: number
  readonly length: number
}

/**
 * One inode. Two names that are hard links of each other hold the same object.
 *
 * The kind comes from the type bits of `mode`; exactly the fields of that kind count.
 */
export interface ErofsNode {
  /** Full `st_mode`, type bits included. */
  mode: number
  uid: number
  gid: number
  mtimeSeconds: number
  mtimeNanoseconds: number
  xattrs: ReadonlyMap<ByteString, Buffer> | undefined
  /** False where this is known to have one name only, which spares looking for others. */
  isLinked?: boolean
  /** Directories: children by name. */
  children?: Map<ByteString, ErofsNode>
  /** Regular files: logical size. */
  size?: number
  /** Regular files: ascending, not overlapping, within `size`. */
  extents?: readonly ErofsExtent[]
  /** Symbolic links: the target's bytes. */
  target?: ByteString
  /** Character and block devices. */
  devMajor?: number
  devMinor?: number
}

/** One slot of the device table. */
export interface ErofsDevice {
  /** At most 64 bytes of ASCII that name the device. */
  readonly tag: string
  /** Size in bytes; need not be a multiple of the block size. */
  readonly size: number
}
