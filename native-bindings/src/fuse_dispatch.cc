#include "fuse_dispatch.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstddef>

#include "fuse_caller.h"

namespace ocimount {

namespace {

/** Nothing changes, so nothing that the kernel knows grows old. */
fuse_entry_out EntryOf(const FuseNode& node) {
  fuse_entry_out entry{};
  entry.nodeid = node.nodeid;
  entry.entry_valid = kForEverSeconds;
  entry.attr_valid = kForEverSeconds;
  entry.attr = node.attr;
  return entry;
}

/** Answers a question for bytes of which the asker may first want the length alone. */
int AnswerSized(std::string_view bytes, uint32_t wanted, FuseReply* reply) {
  if (wanted == 0) {
    fuse_getxattr_out out{static_cast<uint32_t>(bytes.size()), 0};
    return reply->Append(&out, sizeof out) ? 0 : EIO;
  }
  return bytes.size() <= wanted && reply->Append(bytes) ? 0 : ERANGE;
}

/** Packs entries as getdents of FUSE wants them, as many as there is room for. */
class DirentPacker final : public DirentSink {
 public:
  DirentPacker(const FuseFilesystem& filesystem, bool is_plus, FuseReply* reply)
      : filesystem_(filesystem), is_plus_(is_plus), reply_(reply) {}

  bool Add(const ErofsDirent& entry, uint64_t nodeid) override {
    size_t head = is_plus_ ? FUSE_NAME_OFFSET_DIRENTPLUS : FUSE_NAME_OFFSET;
    size_t needed = FUSE_REC_ALIGN(head + entry.name.size());
    if (needed > reply_->capacity() - reply_->size()) {
      is_too_small_ = reply_->size() == 0;
      return false;
    }
    if (is_plus_) {
      fuse_entry_out out{};
      FuseNode node;
      // The kernel knows `.` and `..`. An entry of zeros, it looks up by itself and gets the error then.
      bool is_plain = entry.name != "." && entry.name != "..";
      if (is_plain && filesystem_.GetNode(nodeid, &node) == 0) out = EntryOf(node);
      reply_->Append(&out, sizeof out);
    }
    fuse_dirent dirent{};
    dirent.ino = entry.nid;
    dirent.off = entry.next;
    dirent.namelen = static_cast<uint32_t>(entry.name.size());
    dirent.type = entry.type;
    reply_->Append(&dirent, FUSE_NAME_OFFSET);
    reply_->Append(entry.name);
    reply_->Align();
    return true;
  }

  bool is_too_small() const { return is_too_small_; }

 private:
  const FuseFilesystem& filesystem_;
  const bool is_plus_;
  FuseReply* const reply_;
  bool is_too_small_ = false;
};

}  // namespace

int FuseDispatcher::Answer(const FuseRequest& request, FuseReply* reply) const {
  switch (request.opcode()) {
    case FUSE_LOOKUP:
      return Lookup(request, reply);
    case FUSE_GETATTR:
      return GetAttributes(request, reply);
    case FUSE_READLINK:
      return ReadLink(request, reply);
    case FUSE_OPEN:
      return Open(request, reply);
    case FUSE_OPENDIR:
      return OpenDirectory(request, reply);
    case FUSE_READDIR:
      return ReadDirectory(request, false, reply);
    case FUSE_READDIRPLUS:
      return ReadDirectory(request, true, reply);
    case FUSE_GETXATTR:
      return GetXattr(request, reply);
    case FUSE_LISTXATTR:
      return ListXattr(request, reply);
    case FUSE_ACCESS:
      return Access(request);
    case FUSE_LSEEK:
      return Seek(request, reply);
    case FUSE_STATFS:
      return Statfs(reply);
    case FUSE_RELEASE:
    case FUSE_RELEASEDIR:
    case FUSE_DESTROY:
      return 0;
    case FUSE_SETATTR:
    case FUSE_MKNOD:
    case FUSE_MKDIR:
    case FUSE_UNLINK:
    case FUSE_RMDIR:
    case FUSE_SYMLINK:
    case FUSE_RENAME:
    case FUSE_RENAME2:
    case FUSE_LINK:
    case FUSE_CREATE:
    case kOpTmpfile:
    case FUSE_WRITE:
    case FUSE_FALLOCATE:
    case FUSE_COPY_FILE_RANGE:
    case FUSE_SETXATTR:
    case FUSE_REMOVEXATTR:
      return EROFS;
    // ENOSYS to a flush or fsync counts as done, and the kernel does not ask again.
    default:
      return ENOSYS;
  }
}

int FuseDispatcher::Lookup(const FuseRequest& request, FuseReply* reply) const {
  std::string_view name;
  FuseNode node;
  if (!request.Name(0, &name)) return EINVAL;
  int error = filesystem_.Lookup(request.nodeid(), name, &node);
  // Node 0 with a time stands for a name that is known not to be there.
  if (error == ENOENT && session_.minor >= 4) node = {};
  else if (error != 0) return error;
  fuse_entry_out entry = EntryOf(node);
  size_t size = session_.minor < 9 ? FUSE_COMPAT_ENTRY_OUT_SIZE : sizeof entry;
  return reply->Append(&entry, size) ? 0 : EIO;
}

int FuseDispatcher::GetAttributes(const FuseRequest& request, FuseReply* reply) const {
  FuseNode node;
  if (int error = filesystem_.GetNode(request.nodeid(), &node)) return error;
  fuse_attr_out out{};
  out.attr_valid = kForEverSeconds;
  out.attr = node.attr;
  size_t size = session_.minor < 9 ? FUSE_COMPAT_ATTR_OUT_SIZE : sizeof out;
  return reply->Append(&out, size) ? 0 : EIO;
}

int FuseDispatcher::ReadLink(const FuseRequest& request, FuseReply* reply) const {
  std::string_view target;
  if (int error = filesystem_.ReadLink(request.nodeid(), &target)) return error;
  return reply->Append(target) ? 0 : EIO;
}

int FuseDispatcher::Open(const FuseRequest& request, FuseReply* reply) const {
  fuse_open_in in;
  FuseNode node;
  if (!request.Args(&in)) return EINVAL;
  if ((in.flags & O_ACCMODE) != O_RDONLY || (in.flags & O_TRUNC) != 0) return EROFS;
  if (int error = filesystem_.GetNode(request.nodeid(), &node)) return error;
  if (S_ISDIR(node.attr.mode)) return EISDIR;
  if (!S_ISREG(node.attr.mode)) return EINVAL;
  // ENOSYS: this and every later open needs no answer, nor does a release.
  if (session_.flags & FUSE_NO_OPEN_SUPPORT) return ENOSYS;
  fuse_open_out out{};
  out.open_flags = FOPEN_KEEP_CACHE | kFopenNoflush;
  return reply->Append(&out, sizeof out) ? 0 : EIO;
}

int FuseDispatcher::OpenDirectory(const FuseRequest& request, FuseReply* reply) const {
  FuseNode node;
  if (int error = filesystem_.GetNode(request.nodeid(), &node)) return error;
  if (!S_ISDIR(node.attr.mode)) return ENOTDIR;
  if (session_.flags & FUSE_NO_OPENDIR_SUPPORT) return ENOSYS;
  fuse_open_out out{};
  out.open_flags = FOPEN_KEEP_CACHE | FOPEN_CACHE_DIR;
  return reply->Append(&out, sizeof out) ? 0 : EIO;
}

int FuseDispatcher::ReadDirectory(const FuseRequest& request, bool is_plus,
                                  FuseReply* reply) const {
  fuse_read_in in;
  if (!request.Args(&in, offsetof(fuse_read_in, read_flags))) return EINVAL;
  FuseReply room(reply->data(), std::min<size_t>(in.size, reply->capacity()));
  DirentPacker packer(filesystem_, is_plus, &room);
  if (int error = filesystem_.ReadDirectory(request.nodeid(), in.offset, &packer)) return error;
  reply->set_size(room.size());
  return packer.is_too_small() ? EINVAL : 0;
}

int FuseDispatcher::GetXattr(const FuseRequest& request, FuseReply* reply) const {
  fuse_getxattr_in in;
  std::string_view name;
  std::string_view value;
  if (!request.Args(&in) || !request.Name(sizeof in, &name)) return EINVAL;
  if (int error = filesystem_.GetXattr(request.nodeid(), name, &value)) return error;
  return AnswerSized(value, in.size, reply);
}

int FuseDispatcher::ListXattr(const FuseRequest& request, FuseReply* reply) const {
  fuse_getxattr_in in;
  std::string names;
  if (!request.Args(&in)) return EINVAL;
  if (int error = filesystem_.ListXattr(request.nodeid(), &names)) return error;
  HideTrustedNames(request.header().pid, &names);
  return AnswerSized(names, in.size, reply);
}

int FuseDispatcher::Access(const FuseRequest& request) const {
  fuse_access_in in;
  FuseNode node;
  if (!checks_access_) return ENOSYS;
  if (!request.Args(&in)) return EINVAL;
  if (in.mask & W_OK) return EROFS;
  if ((in.mask & X_OK) == 0) return 0;
  if (int error = filesystem_.GetNode(request.nodeid(), &node)) return error;
  return S_ISREG(node.attr.mode) && (node.attr.mode & 0111) == 0 ? EACCES : 0;
}

int FuseDispatcher::Seek(const FuseRequest& request, FuseReply* reply) const {
  fuse_lseek_in in;
  fuse_lseek_out out{};
  if (!request.Args(&in) || (in.whence != SEEK_DATA && in.whence != SEEK_HOLE)) return EINVAL;
  bool wants_data = in.whence == SEEK_DATA;
  if (int error = filesystem_.Seek(request.nodeid(), in.offset, wants_data, &out.offset)) {
    return error;
  }
  return reply->Append(&out, sizeof out) ? 0 : EIO;
}

int FuseDispatcher::Statfs(FuseReply* reply) const {
  fuse_statfs_out out{filesystem_.Statfs()};
  size_t size = session_.minor < 4 ? FUSE_COMPAT_STATFS_SIZE : sizeof out;
  return reply->Append(&out, size) ? 0 : EIO;
}

}  // namespace ocimount
