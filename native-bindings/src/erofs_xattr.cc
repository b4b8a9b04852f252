#include <cerrno>

#include "erofs_format.h"
#include "erofs_view.h"

namespace ocimount {

using namespace erofs;  // NOLINT: the format is what this file is about.

namespace {

/** The prefixes by their number on disk; ACL names are all prefix. */
std::string_view PrefixOf(unsigned index) {
  switch (index) {
    case 1:
      return "user.";
    case 2:
      return "system.posix_acl_access";
    case 3:
      return "system.posix_acl_default";
    case 4:
      return "trusted.";
    case 6:
      return "security.";
    default:
      return {};
  }
}

// As the kernel's handlers of EROFS are found by a name.
int CheckXattrName(std::string_view name) {
  for (const unsigned index : {2u, 3u}) {
    if (name == PrefixOf(index)) return 0;
  }
  for (const unsigned index : {1u, 4u, 6u}) {
    const std::string_view prefix = PrefixOf(index);
    if (name.starts_with(prefix)) return name.size() == prefix.size() ? EINVAL : 0;
  }
  return EOPNOTSUPP;
}

}  // namespace

ErofsXattrs::ErofsXattrs(const ErofsView& view, const ErofsInode& inode) : view_(view) {
  if (inode.xattrs_size == 0) return;
  end_ = inode.xattrs_offset + inode.xattrs_size;
  shared_count_ = view.bytes()[inode.xattrs_offset + 4];
  shared_start_ = inode.xattrs_offset + kXattrHeaderSize;
  position_ = shared_start_ + 4 * shared_count_;
}

WalkStep ErofsXattrs::Next(ErofsXattr* xattr) {
  if (position_ > end_) return WalkStep::kCorrupt;
  if (position_ < end_) {
    return ReadEntry(position_, end_, xattr, &position_) ? WalkStep::kEntry : WalkStep::kCorrupt;
  }
  if (shared_index_ == shared_count_) return WalkStep::kEnd;
  uint64_t id = Load32(view_.bytes() + shared_start_ + 4 * shared_index_++);
  uint64_t next;
  return ReadEntry(view_.shared_xattrs_offset() + 4 * id, view_.size(), xattr, &next)
             ? WalkStep::kEntry
             : WalkStep::kCorrupt;
}

bool ErofsXattrs::ReadEntry(uint64_t offset, uint64_t limit, ErofsXattr* xattr,
                            uint64_t* next) const {
  if (offset > limit || limit - offset < kXattrEntrySize) return false;
  const uint8_t* entry = view_.bytes() + offset;
  uint64_t name_length = entry[0];
  uint64_t value_length = Load16(entry + 2);
  uint64_t length = AlignUp(kXattrEntrySize + name_length + value_length, 4);
  if (length > limit - offset) return false;
  const char* name = reinterpret_cast<const char*>(entry + kXattrEntrySize);
  xattr->prefix = PrefixOf(entry[1]);
  xattr->suffix = {name, name_length};
  xattr->value = {name + name_length, value_length};
  *next = offset + length;
  return !xattr->prefix.empty();
}

int ErofsView::FindXattr(const ErofsInode& inode, std::string_view name,
                         std::string_view* value) const {
  if (int error = CheckXattrName(name)) return error;
  ErofsXattrs xattrs(*this, inode);
  ErofsXattr xattr;
  WalkStep step;
  while ((step = xattrs.Next(&xattr)) == WalkStep::kEntry) {
    if (name.size() != xattr.prefix.size() + xattr.suffix.size() ||
        !name.starts_with(xattr.prefix) || !name.ends_with(xattr.suffix)) {
      continue;
    }
    *value = xattr.value;
    return 0;
  }
  return step == WalkStep::kEnd ? ENODATA : EIO;
}

}  // namespace ocimount
