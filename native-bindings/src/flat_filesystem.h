// The devices as files of one directory, `0`, `1`, … with their padded sizes, for the kernel's EROFS to read.

#ifndef OCIMOUNT_FLAT_FILESYSTEM_H_
#define OCIMOUNT_FLAT_FILESYSTEM_H_

#include "device.h"
#include "fuse_filesystem.h"

namespace ocimount {

class FlatFilesystem final : public FuseFilesystem {
 public:
  explicit FlatFilesystem(const DeviceSet* devices) : devices_(devices) {}

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
  const DeviceSet* const devices_;
};

}  // namespace ocimount

#endif  // OCIMOUNT_FLAT_FILESYSTEM_H_
