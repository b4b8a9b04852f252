#include <sys/stat.h>

#include <algorithm>
#include <cerrno>
#include <cstring>

#include "erofs_format.h"
#include "erofs_view.h"

namespace ocimount {

using namespace erofs;  // NOLINT: the format is what this file is about.

int ErofsDirectory::Open(const ErofsView& view, const ErofsInode& inode,
                         ErofsDirectory* directory) {
  if (!inode.IsKind(S_IFDIR)) return ENOTDIR;
  ErofsDirectory& dir = *directory;
  dir = ErofsDirectory();
  uint64_t tail = inode.layout == kLayoutFlatInline ? inode.size % kBlockSize : 0;
  dir.bytes_ = view.bytes();
  dir.size_ = inode.size;
  dir.blocks_size_ = inode.size - tail;
  dir.blocks_offset_ = inode.union_field * kBlockSize;
  dir.tail_offset_ = inode.end_of_xattrs();
  if (dir.blocks_size_ > 0 && !view.IsInside(dir.blocks_offset_, dir.blocks_size_)) return EIO;
  return view.IsInside(dir.tail_offset_, tail) ? 0 : EIO;
}

int ErofsDirectory::Find(std::string_view name, uint64_t* nid) {
  is_open_ = false;
  uint64_t low = 0;
  uint64_t high = (size_ + kBlockSize - 1) / kBlockSize - 1;
  std::string_view candidate;
  while (low < high) {
    // The last block whose first name is not above the one wanted.
    uint64_t middle = low + (high - low + 1) / 2;
    if (!OpenBlock(middle) || !NameAt(0, &candidate)) return EIO;
    if (name < candidate) {
      high = middle - 1;
    } else {
      low = middle;
    }
  }
  if (!OpenBlock(low)) return EIO;
  uint64_t first = 0;
  uint64_t end = count_;
  while (first < end) {
    uint64_t middle = first + (end - first) / 2;
    if (!NameAt(middle, &candidate)) return EIO;
    int order = name.compare(candidate);
    if (order == 0) return NidAt(middle, nid) ? 0 : EIO;
    if (order < 0) {
      end = middle;
    } else {
      first = middle + 1;
    }
  }
  return ENOENT;
}

void ErofsDirectory::Seek(uint64_t position) {
  block_ = position / kBlockSize;
  index_ = (position % kBlockSize + kDirentSize - 1) / kDirentSize;
  is_open_ = false;
}

WalkStep ErofsDirectory::Next(ErofsDirent* entry) {
  // A block that is opened has at least one entry, so this ends after one round more than there are blocks.
  while (!is_open_ || index_ >= count_) {
    if (is_open_) {
      block_++;
      index_ = 0;
    }
    if (block_ >= (size_ + kBlockSize - 1) / kBlockSize) return WalkStep::kEnd;
    if (!OpenBlock(block_)) return WalkStep::kCorrupt;
    is_open_ = true;
  }
  if (!NameAt(index_, &entry->name) || !NidAt(index_, &entry->nid)) return WalkStep::kCorrupt;
  // Whoever joins names to paths relies on it.
  if (entry->name.find('/') != std::string_view::npos ||
      entry->name.find('\0') != std::string_view::npos) {
    return WalkStep::kCorrupt;
  }
  // In the order of the FT_* numbers, which are not those of d_type.
  constexpr uint32_t kTypes[] = {0,           S_IFREG >> 12, S_IFDIR >> 12,  S_IFCHR >> 12,
                                 S_IFBLK >> 12, S_IFIFO >> 12, S_IFSOCK >> 12, S_IFLNK >> 12};
  uint8_t type = bytes_[start_ + index_ * kDirentSize + 10];
  entry->type = type < std::size(kTypes) ? kTypes[type] : 0;
  index_++;
  entry->next = block_ * kBlockSize + index_ * kDirentSize;
  return WalkStep::kEntry;
}

bool ErofsDirectory::OpenBlock(uint64_t block) {
  uint64_t position = block * kBlockSize;
  start_ = position < blocks_size_ ? blocks_offset_ + position : tail_offset_;
  length_ = std::min(kBlockSize, size_ - position);
  if (length_ < kDirentSize) return false;
  // The names follow the fixed parts, so the first name's offset tells how many entries there are.
  uint64_t names_start = Load16(bytes_ + start_ + 8);
  if (names_start == 0 || names_start % kDirentSize != 0 || names_start > length_) return false;
  count_ = names_start / kDirentSize;
  return true;
}

bool ErofsDirectory::NameAt(uint64_t index, std::string_view* name) const {
  const uint8_t* entry = bytes_ + start_ + index * kDirentSize;
  uint64_t name_start = Load16(entry + 8);
  if (name_start < count_ * kDirentSize || name_start > length_) return false;
  const char* begin = reinterpret_cast<const char*>(bytes_ + start_ + name_start);
  uint64_t end;
  if (index + 1 < count_) {
    end = Load16(entry + kDirentSize + 8);
  } else {
    // The last name of a block ends with the block or before the zeros that fill it.
    end = name_start + strnlen(begin, length_ - name_start);
  }
  if (end > length_ || end <= name_start || end - name_start > kMaxNameLength) return false;
  *name = {begin, end - name_start};
  return true;
}

bool ErofsDirectory::NidAt(uint64_t index, uint64_t* nid) const {
  *nid = Load64(bytes_ + start_ + index * kDirentSize);
  return *nid <= UINT32_MAX;
}

}  // namespace ocimount
