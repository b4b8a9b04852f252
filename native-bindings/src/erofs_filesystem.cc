#include "erofs_filesystem.h"

#include <sys/stat.h>

#include <algorithm>
#include <cerrno>

namespace ocimount {

namespace {

constexpr size_t kMaxName = 255;
/** Pages are what the kernel caches; `cp` and its like choose larger buffers by themselves. */
constexpr uint32_t kIoBlockSize = 4096;

}  // namespace

int ErofsFilesystem::InodeOf(uint64_t nodeid, ErofsInode* inode) const {
  return view_->ReadInode(nodeid == FUSE_ROOT_ID ? view_->root_nid() : nodeid, inode);
}

/** 0 for what the kernel would take for the root. */
uint64_t ErofsFilesystem::NodeidOf(uint64_t nid) const {
  if (nid == view_->root_nid()) return FUSE_ROOT_ID;
  return nid == FUSE_ROOT_ID ? 0 : nid;
}

void ErofsFilesystem::FillNode(const ErofsInode& inode, FuseNode* node) const {
  node->nodeid = NodeidOf(inode.nid);
  fuse_attr& attr = node->attr;
  attr = {};
  attr.ino = inode.nid;
  attr.size = inode.size;
  attr.blocks = inode.blocks();
  attr.atime = attr.mtime = attr.ctime = static_cast<uint64_t>(inode.mtime_seconds);
  attr.atimensec = attr.mtimensec = attr.ctimensec =
      std::min(inode.mtime_nanoseconds, uint32_t{999999999});
  attr.mode = inode.mode;
  attr.nlink = inode.nlink;
  attr.uid = inode.uid;
  attr.gid = inode.gid;
  attr.rdev = inode.rdev();
  attr.blksize = kIoBlockSize;
}

int ErofsFilesystem::GetNode(uint64_t nodeid, FuseNode* node) const {
  ErofsInode inode;
  if (int error = InodeOf(nodeid, &inode)) return error;
  FillNode(inode, node);
  return node->nodeid == 0 ? EIO : 0;
}

int ErofsFilesystem::Lookup(uint64_t parent, std::string_view name, FuseNode* node) const {
  ErofsInode inode;
  ErofsDirectory directory;
  uint64_t nid;
  if (name.size() > kMaxName) return ENAMETOOLONG;
  if (int error = InodeOf(parent, &inode)) return error;
  // NFS asks for `.` of a file too, to get at an inode of which it knows the number alone.
  if (name == ".") return GetNode(parent, node);
  if (int error = ErofsDirectory::Open(*view_, inode, &directory)) return error;
  if (int error = directory.Find(name, &nid)) return error;
  return NodeidOf(nid) == 0 ? EIO : GetNode(NodeidOf(nid), node);
}

int ErofsFilesystem::ReadLink(uint64_t nodeid, std::string_view* target) const {
  ErofsInode inode;
  if (int error = InodeOf(nodeid, &inode)) return error;
  return view_->ReadTarget(inode, target);
}

int ErofsFilesystem::ReadDirectory(uint64_t nodeid, uint64_t from, DirentSink* sink) const {
  ErofsInode inode;
  ErofsDirectory directory;
  if (int error = InodeOf(nodeid, &inode)) return error;
  if (int error = ErofsDirectory::Open(*view_, inode, &directory)) return error;
  directory.Seek(from);
  ErofsDirent entry;
  WalkStep step;
  while ((step = directory.Next(&entry)) == WalkStep::kEntry) {
    if (!sink->Add(entry, NodeidOf(entry.nid))) return 0;
  }
  return step == WalkStep::kEnd ? 0 : EIO;
}

int ErofsFilesystem::MapRead(uint64_t nodeid, uint64_t offset, uint64_t size,
                             std::vector<FileExtent>* extents) const {
  ErofsInode inode;
  if (int error = InodeOf(nodeid, &inode)) return error;
  return view_->MapExtents(inode, offset, size, extents);
}

int ErofsFilesystem::Seek(uint64_t nodeid, uint64_t offset, bool wants_data,
                          uint64_t* result) const {
  ErofsInode inode;
  if (int error = InodeOf(nodeid, &inode)) return error;
  return view_->Seek(inode, offset, wants_data, result);
}

bool ErofsFilesystem::HasXattrs() const {
  std::call_once(xattrs_once_, [this] { has_xattrs_ = view_->HasXattrs(); });
  return has_xattrs_;
}

int ErofsFilesystem::GetXattr(uint64_t nodeid, std::string_view name,
                              std::string_view* value) const {
  ErofsInode inode;
  if (!HasXattrs()) return ENOSYS;
  if (int error = InodeOf(nodeid, &inode)) return error;
  return view_->FindXattr(inode, name, value);
}

int ErofsFilesystem::ListXattr(uint64_t nodeid, std::string* names) const {
  ErofsInode inode;
  if (!HasXattrs()) return ENOSYS;
  if (int error = InodeOf(nodeid, &inode)) return error;
  ErofsXattrs xattrs(*view_, inode);
  ErofsXattr xattr;
  WalkStep step;
  while ((step = xattrs.Next(&xattr)) == WalkStep::kEntry) {
    names->append(xattr.prefix).append(xattr.suffix).push_back('\0');
  }
  return step == WalkStep::kEnd ? 0 : EIO;
}

fuse_kstatfs ErofsFilesystem::Statfs() const {
  fuse_kstatfs stats{};
  stats.bsize = stats.frsize = kIoBlockSize;
  stats.blocks = (view_->size() + device_bytes_ + kIoBlockSize - 1) / kIoBlockSize;
  stats.files = view_->inode_count();
  stats.namelen = kMaxName;
  return stats;
}

}  // namespace ocimount
