#include "bind_mount.h"

#include <fcntl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cstdint>

namespace ocimount {
namespace {

// Written out for the reason that kernel_mount.cc gives.
constexpr unsigned kOpenTreeClone = 1;
constexpr unsigned kOpenTreeCloexec = O_CLOEXEC;
constexpr unsigned kMoveMountFromEmptyPath = 4;
constexpr uint64_t kMountAttrIdmap = 0x00100000;
constexpr uint64_t kMountAttrAccess = 1 | 2 | 4 | 8;

/** struct mount_attr of mount_setattr(2). */
struct MountAttributes {
  uint64_t set = 0;
  uint64_t clear = 0;
  uint64_t propagation = 0;
  uint64_t user_namespace_fd = 0;
};

SystemFailure Attach(int tree, const BindMountOptions& options, int user_namespace_fd) {
  MountAttributes attributes;
  attributes.set = ReadOnlyAttributes(options.flags);
  attributes.clear = kMountAttrAccess & ~attributes.set;
  const bool shifts = user_namespace_fd >= 0;
  if (shifts) {
    attributes.set |= kMountAttrIdmap;
    attributes.user_namespace_fd = static_cast<uint64_t>(user_namespace_fd);
  }
  if (syscall(SYS_mount_setattr, tree, "", AT_EMPTY_PATH, &attributes, sizeof attributes) != 0) {
    return Failure("mount_setattr", shifts ? "shift the owners of files" : "set the flags of the mount");
  }
  if (syscall(SYS_move_mount, tree, "", AT_FDCWD, options.mountpoint.c_str(),
              kMoveMountFromEmptyPath) != 0) {
    return Failure("move_mount", "attach the mount");
  }
  return {};
}

}  // namespace

SystemFailure BindMount(const BindMountOptions& options) {
  int user_namespace_fd = -1;
  if (!options.id_maps.uids.empty()) {
    const SystemFailure failure = OpenUserNamespace(options.id_maps, &user_namespace_fd);
    if (failure.failed()) return failure;
  }
  const int tree = static_cast<int>(
      syscall(SYS_open_tree, AT_FDCWD, options.source.c_str(), kOpenTreeClone | kOpenTreeCloexec));
  const SystemFailure failure = tree < 0 ? Failure("open_tree", "clone the mount")
                                         : Attach(tree, options, user_namespace_fd);
  if (tree >= 0) close(tree);
  if (user_namespace_fd >= 0) close(user_namespace_fd);
  return failure;
}

}  // namespace ocimount
