// The tree of an EROFS image. A node's id is its nid, but for the root, which the kernel knows as 1; no inode can lie at
// nid 1, where the boot area is. So no state is kept, and forgetting an inode means nothing.

#ifndef OCIMOUNT_EROFS_FILESYSTEM_H_
#define OCIMOUNT_EROFS_FILESYSTEM_H_

#include <memory>
#include <mutex>

#include "erofs_view.h"
#include "fuse_filesystem.h"

namespace ocimount {

class ErofsFilesystem final : public FuseFilesystem {
 public:
  /** `device_bytes` is the sum of the devices' sizes, for statfs(2). */
  ErofsFilesystem(std::unique_ptr<ErofsView> view, uint64_t device_bytes)
      : view_(std::move(view)), device_bytes_(device_bytes) {}

  int GetNode(uint64_t nodeid, FuseNode* node) const override;
  int Lookup(uint64_t parent, std::string_view name, FuseNode* node) const override;
  int ReadLink(uint64_t nodeid, std::string_view* target) const override;
  int ReadDirectory(uint64_t nodeid, uint64_t from, DirentSink* sink) const override;
  int MapRead(uint64_t nodeid, uint64_t offset, uint64_t size,
              std::vector<FileExtent>* extents) const override;
  int Seek(uint64_t nodeid, uint64_t offset, bool wants_data, uint64_t* result) const override;
  int GetXattr(uint64_t nodeid, std::string_view name, std::string_view* value) const override;
  int ListXattr(uint64_t nodeid, std::string* names) const override;
  fuse_kstatfs Statfs() const override;

 private:
  int InodeOf(uint64_t nodeid, ErofsInode* inode) const;
  uint64_t NodeidOf(uint64_t nid) const;
  void FillNode(const ErofsInode& inode, FuseNode* node) const;
  bool HasXattrs() const;

  const std::unique_ptr<ErofsView> view_;
  const uint64_t device_bytes_;
  // Looked for when the first attribute is asked for: it takes a walk of the tree.
  mutable std::once_flag xattrs_once_;
  mutable bool has_xattrs_ = true;
};

}  // namespace ocimount

#endif  // OCIMOUNT_EROFS_FILESYSTEM_H_
