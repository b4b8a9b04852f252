// The form in which fuse-native takes attributes: 18 unsigned 32-bit numbers, wide ones low half first.
//
//   0 mode  1 uid  2 gid  3 size  5 dev  6 nlink  7 ino  8 rdev  9 blksize  10 blocks  12 atime  14 mtime  16 ctime

import type { ErofsInode } from '../erofs/reader.js'

export const STAT_WORDS = 18
/** Pages are what the kernel caches; `cp` and its like choose larger buffers by themselves. */
const IO_BLOCK_SIZE = 4096
const WORD = 2 ** 32

/**
 * Writes the attributes of an inode.
 *
 * Times cross in whole milliseconds since 1970 without a sign; what is before shows as 1970.
 */
export function fillStat(words: Uint32Array, inode: ErofsInode): void {
  words[0] = inode.mode
  words[1] = inode.uid
  words[2] = inode.gid
  setWide(words, 3, inode.size)
  words[5] = 0
  words[6] = inode.nlink
  words[7] = inode.nid
  words[8] = inode.rdev
  words[9] = IO_BLOCK_SIZE
  setWide(words, 10, inode.blocks)
  const milliseconds = toMilliseconds(inode.mtimeSeconds, inode.mtimeNanoseconds)
  setWide(words, 12, milliseconds)
  setWide(words, 14, milliseconds)
  setWide(words, 16, milliseconds)
}

/** Writes the two attributes that readdir passes on. */
export function fillDirectoryStat(words: Uint32Array, nid: number, type: number): void {
  words[0] = type
  words[7] = nid
}

function toMilliseconds(seconds: number, nanoseconds: number): number {
  const milliseconds = seconds * 1000 + Math.floor(nanoseconds / 1e6)
  return Math.min(Math.max(milliseconds, 0), Number.MAX_SAFE_INTEGER)
}

function setWide(words: Uint32Array, index: number, value: number): void {
  // Storing takes the value modulo 2^32.
  words[index] = value
  words[index + 1] = Math.floor(value / WORD)
}
