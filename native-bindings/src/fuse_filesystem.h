// What a mount answers, without anything of the FUSE device. Methods give 0 or an errno and may be called from any
// thread at any time.

#ifndef OCIMOUNT_FUSE_FILESYSTEM_H_
#define OCIMOUNT_FUSE_FILESYSTEM_H_

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "erofs_view.h"
#include "fuse_protocol.h"

namespace ocimount {

struct FuseNode {
  uint64_t nodeid = 0;
  fuse_attr attr{};
};

/** Takes the entries of a directory; false: it has enough. */
class DirentSink {
 public:
  virtual ~DirentSink() = default;
  /** `nodeid` is that of the entry's inode; its attributes are looked up only where they are wanted. */
  virtual bool Add(const ErofsDirent& entry, uint64_t nodeid) = 0;
};

class FuseFilesystem {
 public:
  virtual ~FuseFilesystem() = default;
  virtual int GetNode(uint64_t nodeid, FuseNode* node) const = 0;
  virtual int Lookup(uint64_t parent, std::string_view name, FuseNode* node) const = 0;
  virtual int ReadLink(uint64_t nodeid, std::string_view* target) const = 0;
  /** Passes on the entries behind a position, 0 or the `next` of an entry. */
  virtual int ReadDirectory(uint64_t nodeid, uint64_t from, DirentSink* sink) const = 0;
  /** Appends where the bytes of a file are, cut off at its end. */
  virtual int MapRead(uint64_t nodeid, uint64_t offset, uint64_t size,
                      std::vector<FileExtent>* extents) const = 0;
  virtual int Seek(uint64_t nodeid, uint64_t offset, bool wants_data, uint64_t* result) const = 0;
  /** ENOSYS: no inode has any, and the kernel need not ask again. */
  virtual int GetXattr(uint64_t nodeid, std::string_view name, std::string_view* value) const = 0;
  /** Gives the names, each closed by a NUL. */
  virtual int ListXattr(uint64_t nodeid, std::string* names) const = 0;
  virtual fuse_kstatfs Statfs() const = 0;
};

}  // namespace ocimount

#endif  // OCIMOUNT_FUSE_FILESYSTEM_H_
