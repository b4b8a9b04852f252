// The EROFS on-disk format as far as ocimount writes it (Linux, fs/erofs/erofs_fs.h). All numbers are
// little endian. An image of ours is metadata only:
//
//   0      boot area, zeros
//   1024   superblock, 128 bytes
//   1152   root inode, device table, shared xattrs, then inodes and directory blocks in tree order
//
// An inode lies at nid * 32: 64 bytes, its xattrs, then either the chunk index of a regular file (8-byte
// slots, aligned to 8) or the inline tail of a directory or symbolic link, which may not cross a block.

export const BLOCK_BITS = 9
/** Bytes of a block; as small as EROFS allows, since tar aligns content to 512. */
export const BLOCK_SIZE = 512

export const SUPERBLOCK_OFFSET = 1024
export const SUPERBLOCK_SIZE = 128
export const SUPERBLOCK_MAGIC = 0xe0f5e1e2
/** What the checksum covers from the superblock's start: one block, where blocks are below 1 KiB. */
export const CHECKSUM_COVERAGE = BLOCK_SIZE

export const COMPAT_SB_CHKSUM = 0x01
export const INCOMPAT_CHUNKED_FILE = 0x04
export const INCOMPAT_DEVICE_TABLE = 0x08

/** Byte offsets in `struct erofs_super_block`. */
export const SB = {
  magic: 0,
  checksum: 4,
  featureCompat: 8,
  blkszbits: 12,
  extslots: 13,
  rootNid: 14,
  inos: 16,
  blocks: 36,
  metaBlkaddr: 40,
  xattrBlkaddr: 44,
  uuid: 48,
  featureIncompat: 80,
  extraDevices: 86,
  devtSlotoff: 88,
  dirblkbits: 90,
  xattrPrefixCount: 91,
} as const

/** An inode's address in the units of a nid. */
export const INODE_SLOT_SIZE = 32
/** `struct erofs_inode_extended`: the form with 32-bit ids and a time of its own. */
export const INODE_SIZE = 64
/** Right behind the superblock, so that no nid is 0 and this one fits its 16 bits whatever follows. */
export const ROOT_NID = (SUPERBLOCK_OFFSET + SUPERBLOCK_SIZE) / INODE_SLOT_SIZE

/** Byte offsets in `struct erofs_inode_extended`. */
export const INODE = {
  format: 0,
  xattrIcount: 2,
  mode: 4,
  size: 8,
  /** Start block, device number, or chunk format, depending on the kind. */
  union: 16,
  ino: 20,
  uid: 24,
  gid: 28,
  mtime: 32,
  mtimeNsec: 40,
  nlink: 44,
} as const

export const INODE_VERSION_EXTENDED = 1
export const LAYOUT_FLAT_PLAIN = 0
export const LAYOUT_FLAT_INLINE = 2
export const LAYOUT_CHUNK_BASED = 4

export const CHUNK_BLKBITS_MASK = 0x1f
export const CHUNK_FORMAT_INDEXES = 0x20
/** `struct erofs_inode_chunk_index`: u16 zero, u16 device id (1-based), u32 block address. */
export const CHUNK_INDEX_SIZE = 8
/** The block address of a chunk that is a hole. */
export const NULL_BLKADDR = 0xffffffff

/** `struct erofs_deviceslot`: tag (64 bytes), u32 blocks, the rest unused. */
export const DEVICE_SLOT_SIZE = 128
export const DEVICE_TAG_SIZE = 64
/** A device has at most as many blocks as have an address that is not the hole's: 2 TiB less one block. */
export const MAX_DEVICE_BLOCKS = NULL_BLKADDR

/** `struct erofs_dirent`: u64 nid, u16 offset of the name in its block, u8 type, u8 zero. */
export const DIRENT_SIZE = 12
export const MAX_NAME_LENGTH = 255
/** PATH_MAX less the terminating NUL; the kernel reads no more of a link. */
export const MAX_SYMLINK_LENGTH = 4095

/** `struct erofs_xattr_ibody_header`: u32 name filter (unused), u8 count of shared ids, 7 zero bytes. */
export const XATTR_HEADER_SIZE = 12
/** `struct erofs_xattr_entry`: u8 name length, u8 name index, u16 value size; then name and value. */
export const XATTR_ENTRY_SIZE = 4
/** `i_xattr_icount` is 16 bits: the header counts for one and every 4 bytes behind it for one more. */
export const MAX_XATTR_BODY = XATTR_HEADER_SIZE + 4 * (0xffff - 1)
export const MAX_SHARED_XATTRS = 255

export const S_IFMT = 0o170000
export const S_IFIFO = 0o010000
export const S_IFCHR = 0o020000
export const S_IFDIR = 0o040000
export const S_IFBLK = 0o060000
export const S_IFREG = 0o100000
export const S_IFLNK = 0o120000
export const S_IFSOCK = 0o140000

/** The kinds in the order of the `FT_*` numbers that a directory entry holds; 0 is unknown. */
export const FILE_TYPES: readonly number[] = [
  0,
  S_IFREG,
  S_IFDIR,
  S_IFCHR,
  S_IFBLK,
  S_IFIFO,
  S_IFSOCK,
  S_IFLNK,
]

/** Gives the least multiple of `unit`, a power of two, that is not below `value`. */
export function alignUp(value: number, unit: number): number {
  const rest = value % unit
  return rest === 0 ? value : value - rest + unit
}

/** Gives the 32 bits that stand for a device number on disk and in `st_rdev` (the kernel's new_encode_dev). */
export function encodeDev(major: number, minor: number): number {
  return ((minor & 0xff) | (major << 8) | ((minor & 0xfff00) << 12)) >>> 0
}
