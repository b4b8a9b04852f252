// The system calls around a mount, and two that Node.js lacks. All block, and a mount of EROFS blocks in answers of our
// own server, so they belong on a worker thread. Every descriptor made here is close-on-exec.

#ifndef OCIMOUNT_KERNEL_MOUNT_H_
#define OCIMOUNT_KERNEL_MOUNT_H_

#include <cerrno>
#include <cstdint>
#include <string>
#include <vector>

namespace ocimount {

/** Why something failed; `error_number` 0: it did not. */
struct SystemFailure {
  int error_number = 0;
  /** The system call, a literal. */
  const char* syscall = "";
  /** What it was to achieve, a literal. */
  const char* step = "";
  /** What the kernel wrote about it, for a person; may be empty. */
  std::string detail;

  bool failed() const { return error_number != 0; }
};

/** What `errno` says of a call that has just failed. */
inline SystemFailure Failure(const char* syscall, const char* step) {
  return {.error_number = errno, .syscall = syscall, .step = step, .detail = {}};
}

struct MountFlags {
  bool suid = false;
  bool dev = false;
  bool noexec = false;
};

struct FuseMountOptions {
  int fuse_fd = -1;
  std::string mountpoint;
  /** Shown as the source of the mount; what is longer than a kilobyte is cut. */
  std::string fs_name;
  bool allow_other = false;
  MountFlags flags;
};

/** Where a mount of EROFS goes, and as what. */
struct ErofsPlace {
  std::string mountpoint;
  /** Where a symlink to the image is made for the time of the mount; shown as the source of the mount ever after. */
  std::string source_link;
  MountFlags flags;
};

struct ErofsMountOptions {
  int fuse_fd = -1;
  /** Files 1 to this of the superblock are the devices. */
  uint32_t device_count = 0;
  /** 0: as the kernel has it. */
  uint32_t read_ahead_kib = 0;
  ErofsPlace place;
};

enum class LockKind { kRead, kWrite, kNone };

/** The MOUNT_ATTR_* of a read-only mount with these flags. */
unsigned ReadOnlyAttributes(const MountFlags& flags);
/** The same for mount(2), without the flag that makes it read-only. */
unsigned long SystemFlags(const MountFlags& flags);

/** Gives a descriptor of /dev/fuse or a negative errno. */
int OpenFuseDevice();

/** mount(2) of a superblock over `fuse_fd`; its server need not run yet. */
SystemFailure MountFuse(const FuseMountOptions& options);

/** The arguments with which fusermount3 makes the same mount. */
std::vector<std::string> FusermountArguments(const FuseMountOptions& options);

/**
 * Makes an unattached FUSE superblock over `fuse_fd`, whose server must run, mounts EROFS from its files and attaches that.
 * The superblock lives as long as the EROFS mount.
 */
SystemFailure MountErofs(const ErofsMountOptions& options);

/**
 * Mounts EROFS from plain files, which the kernel opens anew and reads by itself, and attaches that. The descriptors stay the
 * caller's and may be closed afterwards; the files live as long as the mount, whether they have names or not.
 */
SystemFailure MountErofsFromFiles(int image_fd, const std::vector<int>& device_fds,
                                  const ErofsPlace& place);

/** Frees the blocks of a stretch of a file, which reads as zeros then. Gives 0 or an errno. */
int PunchHole(int fd, uint64_t offset, uint64_t length);

/**
 * Takes, changes or drops an OFD lock over a stretch of a file without waiting; a length of 0 is all from `offset` on. Gives
 * 0 or an errno; EAGAIN: another description holds a lock that is in the way.
 */
int LockFile(int fd, LockKind kind, uint64_t offset = 0, uint64_t length = 0);

}  // namespace ocimount

#endif  // OCIMOUNT_KERNEL_MOUNT_H_
