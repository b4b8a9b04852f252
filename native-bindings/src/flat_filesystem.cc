#include "flat_filesystem.h"

#include <sys/stat.h>

#include <algorithm>
#include <cerrno>
#include <charconv>
#include <string>

namespace ocimount {

namespace {

/** The first node behind the root's. */
constexpr uint64_t kFirstFile = FUSE_ROOT_ID + 1;

}  // namespace

int FlatFilesystem::GetNode(uint64_t nodeid, FuseNode* node) const {
  bool is_root = nodeid == FUSE_ROOT_ID;
  if (!is_root && (nodeid < kFirstFile || nodeid - kFirstFile >= devices_->count())) return ENOENT;
  node->nodeid = nodeid;
  node->attr = {};
  node->attr.ino = nodeid;
  node->attr.mode = is_root ? S_IFDIR | 0555 : S_IFREG | 0444;
  node->attr.nlink = is_root ? 2 : 1;
  node->attr.blksize = 4096;
  if (!is_root) {
    node->attr.size = devices_->padded_size(static_cast<uint32_t>(nodeid - kFirstFile));
    node->attr.blocks = node->attr.size / 512;
  }
  return 0;
}

int FlatFilesystem::Lookup(uint64_t parent, std::string_view name, FuseNode* node) const {
  if (name == ".") return GetNode(parent, node);
  if (parent != FUSE_ROOT_ID) return ENOTDIR;
  if (name == "..") return GetNode(FUSE_ROOT_ID, node);
  uint32_t number;
  auto [end, error] = std::from_chars(name.data(), name.data() + name.size(), number);
  bool is_number = error == std::errc() && end == name.data() + name.size() &&
                   name == std::to_string(number);
  return is_number ? GetNode(kFirstFile + number, node) : ENOENT;
}

int FlatFilesystem::ReadLink(uint64_t, std::string_view*) const { return EINVAL; }

int FlatFilesystem::ReadDirectory(uint64_t nodeid, uint64_t from, DirentSink* sink) const {
  if (nodeid != FUSE_ROOT_ID) return ENOTDIR;
  for (uint64_t position = from; position < devices_->count() + uint64_t{2}; position++) {
    std::string name = position == 0 ? "." : position == 1 ? ".." : std::to_string(position - 2);
    bool is_file = position >= 2;
    ErofsDirent entry;
    entry.name = name;
    entry.nid = is_file ? position - 2 + kFirstFile : FUSE_ROOT_ID;
    entry.type = (is_file ? S_IFREG : S_IFDIR) >> 12;
    entry.next = position + 1;
    if (!sink->Add(entry, entry.nid)) break;
  }
  return 0;
}

int FlatFilesystem::MapRead(uint64_t nodeid, uint64_t offset, uint64_t size,
                            std::vector<FileExtent>* extents) const {
  FuseNode node;
  if (int error = GetNode(nodeid, &node)) return error;
  if (nodeid == FUSE_ROOT_ID) return EISDIR;
  if (offset >= node.attr.size || size == 0) return 0;
  extents->push_back({std::min(size, node.attr.size - offset),
                      static_cast<uint32_t>(nodeid - kFirstFile), offset});
  return 0;
}

int FlatFilesystem::Seek(uint64_t nodeid, uint64_t offset, bool wants_data,
                         uint64_t* result) const {
  FuseNode node;
  if (int error = GetNode(nodeid, &node)) return error;
  if (nodeid == FUSE_ROOT_ID) return EINVAL;
  if (offset >= node.attr.size) return ENXIO;
  *result = wants_data ? offset : node.attr.size;
  return 0;
}

int FlatFilesystem::GetXattr(uint64_t, std::string_view, std::string_view*) const {
  return ENOSYS;
}

int FlatFilesystem::ListXattr(uint64_t, std::string*) const { return ENOSYS; }

fuse_kstatfs FlatFilesystem::Statfs() const {
  fuse_kstatfs stats{};
  stats.bsize = stats.frsize = 4096;
  for (uint32_t device = 0; device < devices_->count(); device++) {
    stats.blocks += devices_->padded_size(device) / 4096;
  }
  stats.files = devices_->count() + uint64_t{1};
  stats.namelen = 255;
  return stats;
}

}  // namespace ocimount
