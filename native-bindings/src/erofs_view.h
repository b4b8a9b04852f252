// Answers from an EROFS image in memory what the kernel would answer from its mount: the same checks as
// src/erofs/reader.ts, nothing decoded before it is asked for, nothing kept. Forged bytes can give wrong answers, a directory
// inside itself for one, but neither a read outside the image nor an endless loop.
//
// Methods give 0 or an errno; EIO stands for bytes that the writer never makes.

#ifndef OCIMOUNT_EROFS_VIEW_H_
#define OCIMOUNT_EROFS_VIEW_H_

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

namespace ocimount {

/** What stat(2) tells of an inode, and where to find what belongs to it. */
struct ErofsInode {
  uint64_t nid = 0;
  uint32_t mode = 0;
  uint32_t uid = 0;
  uint32_t gid = 0;
  uint32_t nlink = 0;
  int64_t mtime_seconds = 0;
  uint32_t mtime_nanoseconds = 0;
  uint64_t size = 0;
  unsigned layout = 0;
  /** Start block, device number or chunk format, depending on the kind. */
  uint32_t union_field = 0;
  uint64_t xattrs_offset = 0;
  uint64_t xattrs_size = 0;

  bool IsKind(uint32_t kind) const { return (mode & 0170000) == kind; }
  uint32_t rdev() const;
  /** In units of 512 bytes; holes count. */
  uint64_t blocks() const { return size / 512 + (size % 512 != 0 ? 1 : 0); }
  /** Where the tail or, after alignment, the chunk index starts. */
  uint64_t end_of_xattrs() const { return xattrs_offset + xattrs_size; }
};

struct ErofsDirent {
  std::string_view name;
  uint64_t nid = 0;
  /** As `d_type` has it. */
  uint32_t type = 0;
  /** Where to go on behind this entry; never 0. */
  uint64_t next = 0;
};

/** The number of an extent that is a hole. */
constexpr uint32_t kNoDevice = 0xffffffff;

/** A stretch of a file and where its bytes are. */
struct FileExtent {
  uint64_t length = 0;
  uint32_t device = kNoDevice;
  uint64_t device_offset = 0;
};

struct ErofsXattr {
  std::string_view prefix;
  std::string_view suffix;
  std::string_view value;
};

/** One step of a walk gives this; both kinds of walk end by themselves on whatever bytes. */
enum class WalkStep { kEntry, kEnd, kCorrupt };

class ErofsView;

/** Walks the entries of one directory; see src/erofs/directory-block.ts for a block's layout. */
class ErofsDirectory {
 public:
  /** Gives 0, ENOTDIR or EIO. */
  static int Open(const ErofsView& view, const ErofsInode& inode, ErofsDirectory* directory);

  /** Finds a name by halving. Gives 0, ENOENT or EIO. */
  int Find(std::string_view name, uint64_t* nid);
  /** Places the walk at 0 or at the `next` of an entry. */
  void Seek(uint64_t position);
  WalkStep Next(ErofsDirent* entry);

 private:
  bool OpenBlock(uint64_t block);
  bool NameAt(uint64_t index, std::string_view* name) const;
  bool NidAt(uint64_t index, uint64_t* nid) const;

  const uint8_t* bytes_ = nullptr;
  uint64_t size_ = 0;
  uint64_t blocks_offset_ = 0;
  uint64_t blocks_size_ = 0;
  uint64_t tail_offset_ = 0;
  // The block that was opened last.
  uint64_t start_ = 0;
  uint64_t length_ = 0;
  uint64_t count_ = 0;
  // Where the walk is.
  uint64_t block_ = 0;
  uint64_t index_ = 0;
  bool is_open_ = false;
};

/** Walks the extended attributes of one inode: those behind it, then the shared ones. */
class ErofsXattrs {
 public:
  ErofsXattrs(const ErofsView& view, const ErofsInode& inode);
  WalkStep Next(ErofsXattr* xattr);

 private:
  bool ReadEntry(uint64_t offset, uint64_t limit, ErofsXattr* xattr, uint64_t* next) const;

  const ErofsView& view_;
  uint64_t shared_start_ = 0;
  uint64_t shared_count_ = 0;
  uint64_t shared_index_ = 0;
  uint64_t position_ = 0;
  uint64_t end_ = 0;
};

class ErofsView {
 public:
  /** Verifies the superblock and the root; takes no copy. Gives nothing and says why where it is damaged. */
  static std::unique_ptr<ErofsView> Open(const uint8_t* bytes, size_t length, std::string* why);

  uint64_t root_nid() const { return root_nid_; }
  uint64_t inode_count() const { return inode_count_; }
  /** Bytes of the filesystem. */
  uint64_t size() const { return size_; }
  /** Bytes of the devices as the table has them: whole blocks. */
  const std::vector<uint64_t>& device_sizes() const { return device_sizes_; }
  uint64_t shared_xattrs_offset() const { return shared_xattrs_offset_; }
  const uint8_t* bytes() const { return bytes_; }

  int ReadInode(uint64_t nid, ErofsInode* inode) const;
  /** Gives the target of a link; EINVAL for another kind. */
  int ReadTarget(const ErofsInode& inode, std::string_view* target) const;
  /** Gives 0, ENODATA or EIO; EOPNOTSUPP or EINVAL for a name that EROFS has no form for. */
  int FindXattr(const ErofsInode& inode, std::string_view name, std::string_view* value) const;
  /**
   * Appends where a stretch of a regular file is, cut off at its end; neighbours that continue one another are one. EISDIR
   * or EINVAL for another kind.
   */
  int MapExtents(const ErofsInode& inode, uint64_t offset, uint64_t length,
                 std::vector<FileExtent>* extents) const;
  /** What lseek(2) answers for SEEK_DATA and SEEK_HOLE. Gives 0, ENXIO, EINVAL or EIO. */
  int Seek(const ErofsInode& inode, uint64_t offset, bool wants_data, uint64_t* result) const;
  /** Walks the tree until an inode has an extended attribute; a damaged tree counts as having one. */
  bool HasXattrs() const;

  bool IsInside(uint64_t offset, uint64_t length) const {
    return offset <= size_ && length <= size_ - offset;
  }

 private:
  /** The chunks of a regular file that is not empty. */
  struct ChunkIndex {
    uint64_t chunk_bits = 0;
    const uint8_t* slots = nullptr;
  };

  ErofsView(const uint8_t* bytes, size_t length) : bytes_(bytes), length_(length) {}
  const char* ReadSuperblock();
  /** Opens the index of a regular file up to the chunk that holds byte `end - 1`. */
  bool OpenChunks(const ErofsInode& inode, uint64_t end, ChunkIndex* index) const;

  const uint8_t* const bytes_;
  const size_t length_;
  uint64_t size_ = 0;
  uint64_t root_nid_ = 0;
  uint64_t inode_count_ = 0;
  uint64_t shared_xattrs_offset_ = 0;
  std::vector<uint64_t> device_sizes_;
};

}  // namespace ocimount

#endif  // OCIMOUNT_EROFS_VIEW_H_
