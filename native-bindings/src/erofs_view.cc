#include "erofs_view.h"

#include <sys/stat.h>

#include <algorithm>
#include <array>
#include <cerrno>

#include "erofs_format.h"

namespace ocimount {

using namespace erofs;  // NOLINT: the format is what this file is about.

namespace {

/** The CRC-32C that the kernel computes, without the final inversion; it sees one block per image. */
uint32_t Crc32c(uint32_t crc, const uint8_t* bytes, size_t length) {
  for (size_t index = 0; index < length; index++) {
    crc ^= bytes[index];
    for (int bit = 0; bit < 8; bit++) crc = crc >> 1 ^ (crc & 1 ? 0x82f63b78u : 0);
  }
  return crc;
}

/** What JavaScript can hold exactly; the reader there refuses more, and so do we. */
constexpr int64_t kMaxSafeInteger = (int64_t{1} << 53) - 1;

bool IsSafe(int64_t value) { return value >= -kMaxSafeInteger && value <= kMaxSafeInteger; }

bool IsLayoutOfKind(unsigned layout, uint32_t mode, int64_t size) {
  if (size < 0) return false;
  switch (mode & S_IFMT) {
    case S_IFREG:
      return layout == (size == 0 ? kLayoutFlatPlain : kLayoutChunkBased);
    case S_IFDIR:
    case S_IFLNK:
      return size > 0 && (layout == kLayoutFlatPlain || layout == kLayoutFlatInline);
    case S_IFCHR:
    case S_IFBLK:
    case S_IFIFO:
    case S_IFSOCK:
      return size == 0 && layout == kLayoutFlatPlain;
    default:
      return false;
  }
}

}  // namespace

uint32_t ErofsInode::rdev() const {
  return IsKind(S_IFCHR) || IsKind(S_IFBLK) ? union_field : 0;
}

std::unique_ptr<ErofsView> ErofsView::Open(const uint8_t* bytes, size_t length, std::string* why) {
  std::unique_ptr<ErofsView> view(new ErofsView(bytes, length));
  const char* problem = view->ReadSuperblock();
  ErofsInode root;
  if (problem == nullptr && (view->ReadInode(view->root_nid_, &root) != 0 || !root.IsKind(S_IFDIR)))
    problem = "its root is no directory";
  if (problem == nullptr) return view;
  *why = std::string("Cannot read EROFS image: ") + problem;
  return nullptr;
}

const char* ErofsView::ReadSuperblock() {
  if (length_ < kSuperblockOffset + kChecksumCoverage) return "it is too short";
  const uint8_t* sb = bytes_ + kSuperblockOffset;
  if (Load32(sb + kSbMagic) != kSuperblockMagic) return "it has no superblock";
  std::array<uint8_t, kChecksumCoverage> covered;
  std::copy_n(sb, covered.size(), covered.begin());
  std::fill_n(covered.begin() + kSbChecksum, 4, uint8_t{0});
  if (Crc32c(0xffffffff, covered.data(), covered.size()) != Load32(sb + kSbChecksum))
    return "the checksum of its superblock is wrong";
  uint32_t device_count = Load16(sb + kSbExtraDevices);
  uint32_t device_feature = device_count == 0 ? 0 : kIncompatDeviceTable;
  bool is_ours = Load32(sb + kSbFeatureCompat) == kCompatSbChksum &&
                 Load32(sb + kSbFeatureIncompat) == (kIncompatChunkedFile | device_feature) &&
                 sb[kSbBlkszbits] == kBlockBits && sb[kSbExtslots] == 0 &&
                 sb[kSbDirblkbits] == 0 && sb[kSbXattrPrefixCount] == 0 &&
                 Load32(sb + kSbMetaBlkaddr) == 0;
  if (!is_ours) return "its features or block size are not those that are written";
  size_ = Load32(sb + kSbBlocks) * kBlockSize;
  if (size_ > length_) return "it is cut short";
  root_nid_ = Load16(sb + kSbRootNid);
  int64_t inodes = static_cast<int64_t>(Load64(sb + kSbInos));
  if (!IsSafe(inodes) || inodes < 0) return "its number of inodes is not one";
  inode_count_ = static_cast<uint64_t>(inodes);
  shared_xattrs_offset_ = Load32(sb + kSbXattrBlkaddr) * kBlockSize;
  uint64_t table = Load16(sb + kSbDevtSlotoff) * kDeviceSlotSize;
  if (!IsInside(table, device_count * kDeviceSlotSize)) return "its device table is outside of it";
  for (uint32_t index = 0; index < device_count; index++) {
    const uint8_t* slot = bytes_ + table + index * kDeviceSlotSize;
    device_sizes_.push_back(Load32(slot + kDeviceTagSize) * kBlockSize);
  }
  return nullptr;
}

int ErofsView::ReadInode(uint64_t nid, ErofsInode* inode) const {
  if (nid == 0 || nid > size_ / kInodeSlotSize) return EIO;
  uint64_t offset = nid * kInodeSlotSize;
  if (!IsInside(offset, kInodeSize)) return EIO;
  const uint8_t* at = bytes_ + offset;
  unsigned format = Load16(at + kInodeFormat);
  int64_t size = static_cast<int64_t>(Load64(at + kInodeSizeField));
  int64_t seconds = static_cast<int64_t>(Load64(at + kInodeMtime));
  inode->mode = Load16(at + kInodeMode);
  inode->layout = format >> 1;
  if ((format & 1) != kVersionExtended || !IsLayoutOfKind(inode->layout, inode->mode, size) ||
      !IsSafe(size) || !IsSafe(seconds)) {
    return EIO;
  }
  uint64_t xattr_count = Load16(at + kInodeXattrIcount);
  inode->nid = nid;
  inode->size = static_cast<uint64_t>(size);
  inode->mtime_seconds = seconds;
  inode->mtime_nanoseconds = Load32(at + kInodeMtimeNsec);
  inode->union_field = Load32(at + kInodeUnion);
  inode->uid = Load32(at + kInodeUid);
  inode->gid = Load32(at + kInodeGid);
  inode->nlink = Load32(at + kInodeNlink);
  inode->xattrs_offset = offset + kInodeSize;
  inode->xattrs_size = xattr_count == 0 ? 0 : kXattrHeaderSize + 4 * (xattr_count - 1);
  return IsInside(inode->xattrs_offset, inode->xattrs_size) ? 0 : EIO;
}

int ErofsView::ReadTarget(const ErofsInode& inode, std::string_view* target) const {
  if (!inode.IsKind(S_IFLNK)) return EINVAL;
  uint64_t offset = inode.layout == kLayoutFlatInline ? inode.end_of_xattrs()
                                                      : inode.union_field * kBlockSize;
  if (inode.size > kMaxSymlinkLength || !IsInside(offset, inode.size)) return EIO;
  *target = {reinterpret_cast<const char*>(bytes_ + offset), inode.size};
  return 0;
}

bool ErofsView::OpenChunks(const ErofsInode& inode, uint64_t end, ChunkIndex* index) const {
  if ((inode.union_field & ~kChunkBlkbitsMask) != kChunkFormatIndexes) return false;
  index->chunk_bits = kBlockBits + (inode.union_field & kChunkBlkbitsMask);
  uint64_t offset = AlignUp(inode.end_of_xattrs(), kChunkIndexSize);
  uint64_t count = ((end - 1) >> index->chunk_bits) + 1;
  if (count > size_ / kChunkIndexSize || !IsInside(offset, count * kChunkIndexSize)) return false;
  index->slots = bytes_ + offset;
  return true;
}

int ErofsView::MapExtents(const ErofsInode& inode, uint64_t offset, uint64_t length,
                          std::vector<FileExtent>* extents) const {
  if (!inode.IsKind(S_IFREG)) return inode.IsKind(S_IFDIR) ? EISDIR : EINVAL;
  if (offset >= inode.size || length == 0) return 0;
  uint64_t end = offset + std::min(length, inode.size - offset);
  ChunkIndex index;
  if (!OpenChunks(inode, end, &index)) return EIO;
  while (offset < end) {
    uint64_t chunk = offset >> index.chunk_bits;
    uint64_t within = offset - (chunk << index.chunk_bits);
    FileExtent extent;
    extent.length = std::min(end - offset, (uint64_t{1} << index.chunk_bits) - within);
    const uint8_t* slot = index.slots + chunk * kChunkIndexSize;
    uint32_t block = Load32(slot + 4);
    if (block != kNullBlkaddr) {
      uint32_t number = Load16(slot + 2);
      extent.device_offset = block * kBlockSize + within;
      // The numbers on disk start at 1; 0 would be the image itself, where no content is.
      if (number == 0 || number > device_sizes_.size() ||
          extent.device_offset + extent.length > device_sizes_[number - 1]) {
        return EIO;
      }
      extent.device = number - 1;
    }
    offset += extent.length;
    FileExtent* last = extents->empty() ? nullptr : &extents->back();
    if (last != nullptr && last->device == extent.device &&
        (extent.device == kNoDevice || last->device_offset + last->length == extent.device_offset)) {
      last->length += extent.length;
    } else {
      extents->push_back(extent);
    }
  }
  return 0;
}

int ErofsView::Seek(const ErofsInode& inode, uint64_t offset, bool wants_data,
                    uint64_t* result) const {
  if (!inode.IsKind(S_IFREG)) return EINVAL;
  if (offset >= inode.size) return ENXIO;
  ChunkIndex index;
  if (!OpenChunks(inode, inode.size, &index)) return EIO;
  uint64_t last = (inode.size - 1) >> index.chunk_bits;
  for (uint64_t chunk = offset >> index.chunk_bits; chunk <= last; chunk++) {
    bool is_data = Load32(index.slots + chunk * kChunkIndexSize + 4) != kNullBlkaddr;
    if (is_data != wants_data) continue;
    *result = std::max(offset, chunk << index.chunk_bits);
    return 0;
  }
  if (wants_data) return ENXIO;
  *result = inode.size;
  return 0;
}

bool ErofsView::HasXattrs() const {
  std::vector<uint64_t> pending{root_nid_};
  // Forged bytes can nest a directory in itself; an honest image cannot have more entries than fit into it.
  uint64_t entries_left = size_ / kDirentSize;
  while (!pending.empty()) {
    ErofsInode inode;
    ErofsDirectory directory;
    uint64_t nid = pending.back();
    pending.pop_back();
    if (ReadInode(nid, &inode) != 0 || inode.xattrs_size != 0) return true;
    if (ErofsDirectory::Open(*this, inode, &directory) != 0) return true;
    ErofsDirent entry;
    WalkStep step;
    while ((step = directory.Next(&entry)) == WalkStep::kEntry) {
      if (entries_left-- == 0) return true;
      if (entry.name == "." || entry.name == "..") continue;
      if (ReadInode(entry.nid, &inode) != 0 || inode.xattrs_size != 0) return true;
      if (inode.IsKind(S_IFDIR)) pending.push_back(entry.nid);
    }
    if (step == WalkStep::kCorrupt) return true;
  }
  return false;
}

}  // namespace ocimount
