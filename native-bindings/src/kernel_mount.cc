// The order in MountErofs matters (MountErofsFromFiles has the last two steps alone):
//
//   fsmount of fuse ─▶ open "0", "1", … as O_PATH ─▶ read_ahead_kb ─▶ fsconfig CREATE of erofs ─▶ move_mount
//
// The look-ups of the files wait until the server answered INIT, whose reply sets the read-ahead; raising it must come
// after that, and before EROFS opens the files, since an open file keeps the value it found. O_PATH: with an ordinary
// descriptor on our own superblock a killed process would wait for its own answer to FLUSH.
//
// The new mount calls are made through syscall(2), their constants written out: the headers of some distributions have
// neither, and those of others define them twice.

#include "kernel_mount.h"

#include <fcntl.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cerrno>
#include <climits>
#include <limits>
#include <utility>

namespace ocimount {
namespace {

constexpr unsigned kFsOpenCloexec = 1;
constexpr unsigned kFsMountCloexec = 1;
constexpr unsigned kFsConfigSetFlag = 0;
constexpr unsigned kFsConfigSetString = 1;
constexpr unsigned kFsConfigCreate = 6;
constexpr unsigned kMountAttrReadOnly = 1;
constexpr unsigned kMountAttrNoSuid = 2;
constexpr unsigned kMountAttrNoDev = 4;
constexpr unsigned kMountAttrNoExec = 8;
constexpr unsigned kMoveMountFromEmptyPath = 4;

constexpr char kFuseSubtype[] = "fuse.ocimount";
constexpr size_t kMaxFsName = 1024;
/** Lines of a context's log that go into a message. */
constexpr int kMaxLogLines = 8;

class Descriptor {
 public:
  explicit Descriptor(int fd) : fd_(fd) {}
  Descriptor(Descriptor&& other) noexcept : fd_(std::exchange(other.fd_, -1)) {}
  ~Descriptor() {
    if (fd_ >= 0) close(fd_);
  }
  Descriptor& operator=(Descriptor&&) = delete;

  int get() const { return fd_; }
  bool is_open() const { return fd_ >= 0; }

 private:
  int fd_;
};

/** A path that leads to an open file, with or without a name of its own, as long as it is open. */
std::string PathOf(int fd) { return "/proc/self/fd/" + std::to_string(fd); }

/** Removes the link with the scope. */
class Link {
 public:
  explicit Link(const std::string& path) : path_(path) {}
  ~Link() { unlink(path_.c_str()); }
  Link(const Link&) = delete;

 private:
  const std::string& path_;
};

/** A filesystem context: parameters, then a superblock, then a mount. Stops at the first failure. */
class FsContext {
 public:
  FsContext(const char* type, const char* step)
      : fd_(static_cast<int>(syscall(SYS_fsopen, type, kFsOpenCloexec))), step_(step) {
    if (!fd_.is_open()) failure_ = Failure("fsopen", step);
  }

  void Set(const char* key, const std::string& value) {
    Configure(kFsConfigSetString, key, value.c_str());
  }
  void Set(const char* key) { Configure(kFsConfigSetFlag, key, nullptr); }

  /** Gives the descriptor of an unattached mount, or -1. */
  int Mount(unsigned attributes) {
    Configure(kFsConfigCreate, nullptr, nullptr);
    if (failure_.failed()) return -1;
    const long fd = syscall(SYS_fsmount, fd_.get(), kFsMountCloexec, attributes);
    if (fd < 0) Fail("fsmount");
    return static_cast<int>(fd);
  }

  const SystemFailure& failure() const { return failure_; }

 private:
  void Configure(unsigned command, const char* key, const char* value) {
    if (failure_.failed()) return;
    if (syscall(SYS_fsconfig, fd_.get(), command, key, value, 0) != 0) Fail("fsconfig");
  }

  void Fail(const char* call) {
    failure_ = Failure(call, step_);
    char line[512];
    for (int lines = 0; lines < kMaxLogLines; ++lines) {
      // Each read gives one message, as `e <text>\n`, and ENODATA behind the last.
      ssize_t length = read(fd_.get(), line, sizeof line);
      if (length <= 0) return;
      while (length > 0 && line[length - 1] == '\n') --length;
      const ssize_t skip = length > 2 && line[1] == ' ' ? 2 : 0;
      if (!failure_.detail.empty()) failure_.detail += "; ";
      failure_.detail.append(line + skip, static_cast<size_t>(length - skip));
    }
  }

  Descriptor fd_;
  const char* step_;
  SystemFailure failure_;
};

/** Raises how far the kernel reads ahead in a filesystem; without it reading is slower, and no more. */
void RaiseReadAhead(int mount_fd, uint32_t kib) {
  struct statx status {};
  if (statx(mount_fd, "", AT_EMPTY_PATH | AT_STATX_DONT_SYNC, 0, &status) != 0) return;
  const std::string path = "/sys/class/bdi/" + std::to_string(status.stx_dev_major) + ":" +
                           std::to_string(status.stx_dev_minor) + "/read_ahead_kb";
  const Descriptor file(open(path.c_str(), O_WRONLY | O_CLOEXEC));
  const std::string value = std::to_string(kib);
  if (file.is_open() && write(file.get(), value.data(), value.size()) < 0) return;
}

/** Mounts EROFS from open files, the image first, and attaches it. */
SystemFailure AttachErofs(const std::vector<int>& fds, const ErofsPlace& place, const char* step) {
  if (symlink(PathOf(fds[0]).c_str(), place.source_link.c_str()) != 0) {
    return Failure("symlink", "name the image");
  }
  const Link link(place.source_link);
  FsContext erofs("erofs", step);
  erofs.Set("source", place.source_link);
  for (size_t i = 1; i < fds.size(); ++i) erofs.Set("device", PathOf(fds[i]));
  erofs.Set("ro");
  const Descriptor mount(erofs.Mount(ReadOnlyAttributes(place.flags)));
  if (!mount.is_open()) return erofs.failure();
  if (syscall(SYS_move_mount, mount.get(), "", AT_FDCWD, place.mountpoint.c_str(),
              kMoveMountFromEmptyPath) != 0) {
    return Failure("move_mount", "attach the mount");
  }
  return {};
}

}  // namespace

unsigned ReadOnlyAttributes(const MountFlags& flags) {
  return kMountAttrReadOnly | (flags.suid ? 0 : kMountAttrNoSuid) |
         (flags.dev ? 0 : kMountAttrNoDev) | (flags.noexec ? kMountAttrNoExec : 0);
}

unsigned long SystemFlags(const MountFlags& flags) {
  return (flags.suid ? 0 : MS_NOSUID) | (flags.dev ? 0 : MS_NODEV) |
         (flags.noexec ? MS_NOEXEC : 0);
}

int OpenFuseDevice() {
  const int fd = open("/dev/fuse", O_RDWR | O_CLOEXEC);
  return fd >= 0 ? fd : -errno;
}

SystemFailure MountFuse(const FuseMountOptions& options) {
  std::string data = "fd=" + std::to_string(options.fuse_fd) +
                     ",rootmode=40000,user_id=" + std::to_string(geteuid()) +
                     ",group_id=" + std::to_string(getegid());
  // Without it the kernel lets only the owner in, and leaves modes to the server, which checks them itself.
  if (options.allow_other) data += ",allow_other,default_permissions";
  const unsigned long flags = MS_RDONLY | SystemFlags(options.flags);
  const std::string source = options.fs_name.substr(0, kMaxFsName);
  if (mount(source.c_str(), options.mountpoint.c_str(), kFuseSubtype, flags, data.c_str()) != 0) {
    return Failure("mount", "mount FUSE");
  }
  return {};
}

std::vector<std::string> FusermountArguments(const FuseMountOptions& options) {
  std::string list = "ro,subtype=ocimount,fsname=";
  for (const char c : options.fs_name.substr(0, kMaxFsName)) {
    if (c == ',' || c == '\\') list += '\\';
    list += c;
  }
  list += options.flags.suid ? ",suid" : ",nosuid";
  list += options.flags.dev ? ",dev" : ",nodev";
  if (options.flags.noexec) list += ",noexec";
  if (options.allow_other) list += ",allow_other,default_permissions";
  return {"-o", list, "--", options.mountpoint};
}

SystemFailure MountErofs(const ErofsMountOptions& options) {
  FsContext fuse("fuse", "make the FUSE superblock");
  fuse.Set("source", "ocimount");
  fuse.Set("fd", std::to_string(options.fuse_fd));
  fuse.Set("rootmode", "40000");
  fuse.Set("user_id", std::to_string(geteuid()));
  fuse.Set("group_id", std::to_string(getegid()));
  fuse.Set("allow_other");
  fuse.Set("default_permissions");
  const Descriptor fuse_mount(
      fuse.Mount(kMountAttrReadOnly | kMountAttrNoSuid | kMountAttrNoDev | kMountAttrNoExec));
  if (!fuse_mount.is_open()) return fuse.failure();

  std::vector<Descriptor> files;
  std::vector<int> fds;
  for (uint64_t number = 0; number <= options.device_count; ++number) {
    files.emplace_back(
        openat(fuse_mount.get(), std::to_string(number).c_str(), O_PATH | O_CLOEXEC));
    if (!files.back().is_open()) return Failure("openat", "open the files of the server");
    fds.push_back(files.back().get());
  }
  if (options.read_ahead_kib > 0) RaiseReadAhead(fuse_mount.get(), options.read_ahead_kib);
  return AttachErofs(fds, options.place, "mount EROFS from the files of the server");
}

SystemFailure MountErofsFromFiles(int image_fd, const std::vector<int>& device_fds,
                                  const ErofsPlace& place) {
  std::vector<int> fds = {image_fd};
  fds.insert(fds.end(), device_fds.begin(), device_fds.end());
  return AttachErofs(fds, place, "mount EROFS from plain files");
}

int PunchHole(int fd, uint64_t offset, uint64_t length) {
  constexpr uint64_t kMax = std::numeric_limits<off_t>::max();
  if (offset > kMax || length == 0 || length > kMax - offset) return EINVAL;
  const int mode = FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE;
  const int status = fallocate(fd, mode, static_cast<off_t>(offset), static_cast<off_t>(length));
  return status == 0 ? 0 : errno;
}

int LockFile(int fd, LockKind kind, uint64_t offset, uint64_t length) {
  if (offset > INT64_MAX || length > INT64_MAX - offset) return EOVERFLOW;
  struct flock lock {};
  lock.l_type = kind == LockKind::kRead ? F_RDLCK : kind == LockKind::kWrite ? F_WRLCK : F_UNLCK;
  lock.l_whence = SEEK_SET;
  lock.l_start = static_cast<off_t>(offset);
  lock.l_len = static_cast<off_t>(length);
  if (fcntl(fd, F_OFD_SETLK, &lock) == 0) return 0;
  return errno == EACCES ? EAGAIN : errno;
}

}  // namespace ocimount
