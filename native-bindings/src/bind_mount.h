// A mount that shows a directory of another mount, with flags of its own.

#ifndef OCIMOUNT_BIND_MOUNT_H_
#define OCIMOUNT_BIND_MOUNT_H_

#include <string>

#include "kernel_mount.h"

namespace ocimount {

struct BindMountOptions {
  /** A mount point; what is mounted below it does not come along. */
  std::string source;
  std::string mountpoint;
  /** A descriptor of a user namespace by whose maps owners are shifted, or -1. */
  int user_namespace_fd = -1;
  MountFlags flags;
};

/** Clones the mount at `source`, makes the clone read-only with these flags, and attaches it at `mountpoint`. */
SystemFailure BindMount(const BindMountOptions& options);

}  // namespace ocimount

#endif  // OCIMOUNT_BIND_MOUNT_H_
