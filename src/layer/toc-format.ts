// The file form of a toc. Integers and counted bytes are those of byte-writer.ts; no alignment, no padding.
//
//   offset 0   6 bytes    "OCITOC"
//          6   1 byte     version, 1
//          7   unsigned   deviceSize
//              unsigned   number of xattr sets, then each set:
//                unsigned   number of xattrs, then each: name (bytes), value (bytes)
//              unsigned   number of notes, then each: kind, path, detail (bytes, the first and last in UTF-8)
//              unsigned   number of entries, then each:
//                byte       bits 0-3 type, its index in TOC_TYPES; bit 4 has xattrs; bit 5 is sparse; bit 6 has nanoseconds
//                unsigned   bytes that the path shares with the one before, at its front
//                bytes      the rest of the path
//                unsigned   mode, uid, gid
//                signed     mtime, seconds
//                unsigned   mtime, nanoseconds                             if bit 6
//                signed     headerOffset, minus that of the entry before
//                signed     dataOffset, minus headerOffset
//                unsigned   size                                           if a file
//                bytes      linkTarget                                     if a symlink or hardlink
//                unsigned   devMajor, devMinor                             if a char or block device
//                unsigned   number of the xattr set                        if bit 4
//                unsigned   number of segments, then each:                 if bit 5
//                  unsigned   fileOffset, minus the end of the segment before (0 at first)
//                  signed     deviceOffset, minus the end of the segment before (dataOffset at first)
//                  unsigned   length
//
// Files in a tar come directory by directory, so sharing fronts makes the paths of a real layer about a third
// as long; entries that have equal xattrs (a security label, say) share one set. Decoding 300,000 entries takes
// about 0.2 s, most of it for making the objects.

import type { TocEntryType } from './toc.js'

/** Changes with the format and with what a toc says of the same tar; files of another version are not read. */
export const TOC_VERSION = 1

/** First bytes of every file. */
export const TOC_MAGIC = 'OCITOC'

/** Types by their number in the files; never reordered. */
export const TOC_TYPES: readonly TocEntryType[] = [
  'file',
  'directory',
  'symlink',
  'hardlink',
  'char',
  'block',
  'fifo',
  'whiteout',
  'opaque',
]

/** Bits of the first byte of an entry. */
export const TYPE_MASK = 0x0f
export const HAS_XATTRS = 0x10
export const IS_SPARSE = 0x20
export const HAS_NANOSECONDS = 0x40
