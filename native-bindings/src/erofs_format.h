// The EROFS dialect that ocimount writes, as src/erofs/format.ts describes it: blocks of 512 bytes, extended inodes of
// 64 bytes at nid * 32, each followed by its xattrs and then by its chunk index or inline tail. All
// numbers are little endian and are read byte by byte, so that neither alignment nor the host matters.

#ifndef OCIMOUNT_EROFS_FORMAT_H_
#define OCIMOUNT_EROFS_FORMAT_H_

#include <cstdint>

namespace ocimount::erofs {

constexpr unsigned kBlockBits = 9;
constexpr uint64_t kBlockSize = 512;

constexpr uint64_t kSuperblockOffset = 1024;
constexpr uint32_t kSuperblockMagic = 0xe0f5e1e2;
/** What the checksum covers from the superblock's start. */
constexpr uint64_t kChecksumCoverage = kBlockSize;
constexpr uint32_t kCompatSbChksum = 0x01;
constexpr uint32_t kIncompatChunkedFile = 0x04;
constexpr uint32_t kIncompatDeviceTable = 0x08;

/** Offsets in `struct erofs_super_block`. */
enum SuperblockField : uint64_t {
  kSbMagic = 0,
  kSbChecksum = 4,
  kSbFeatureCompat = 8,
  kSbBlkszbits = 12,
  kSbExtslots = 13,
  kSbRootNid = 14,
  kSbInos = 16,
  kSbBlocks = 36,
  kSbMetaBlkaddr = 40,
  kSbXattrBlkaddr = 44,
  kSbFeatureIncompat = 80,
  kSbExtraDevices = 86,
  kSbDevtSlotoff = 88,
  kSbDirblkbits = 90,
  kSbXattrPrefixCount = 91,
};

constexpr uint64_t kInodeSlotSize = 32;
constexpr uint64_t kInodeSize = 64;

/** Offsets in `struct erofs_inode_extended`. */
enum InodeField : uint64_t {
  kInodeFormat = 0,
  kInodeXattrIcount = 2,
  kInodeMode = 4,
  kInodeSizeField = 8,
  kInodeUnion = 16,
  kInodeUid = 24,
  kInodeGid = 28,
  kInodeMtime = 32,
  kInodeMtimeNsec = 40,
  kInodeNlink = 44,
};

constexpr unsigned kVersionExtended = 1;
constexpr unsigned kLayoutFlatPlain = 0;
constexpr unsigned kLayoutFlatInline = 2;
constexpr unsigned kLayoutChunkBased = 4;

constexpr uint32_t kChunkBlkbitsMask = 0x1f;
constexpr uint32_t kChunkFormatIndexes = 0x20;
constexpr uint64_t kChunkIndexSize = 8;
/** The block address of a chunk that is a hole. */
constexpr uint32_t kNullBlkaddr = 0xffffffff;

constexpr uint64_t kDeviceSlotSize = 128;
constexpr uint64_t kDeviceTagSize = 64;

constexpr uint64_t kDirentSize = 12;
constexpr uint64_t kMaxNameLength = 255;
constexpr uint64_t kMaxSymlinkLength = 4095;

constexpr uint64_t kXattrHeaderSize = 12;
constexpr uint64_t kXattrEntrySize = 4;

inline uint16_t Load16(const uint8_t* bytes) {
  return static_cast<uint16_t>(bytes[0] | bytes[1] << 8);
}
inline uint32_t Load32(const uint8_t* bytes) {
  return Load16(bytes) | static_cast<uint32_t>(Load16(bytes + 2)) << 16;
}
inline uint64_t Load64(const uint8_t* bytes) {
  return Load32(bytes) | static_cast<uint64_t>(Load32(bytes + 4)) << 32;
}
inline uint64_t AlignUp(uint64_t value, uint64_t unit) { return (value + unit - 1) / unit * unit; }

}  // namespace ocimount::erofs

#endif  // OCIMOUNT_EROFS_FORMAT_H_
