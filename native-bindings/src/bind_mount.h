// A mount that shows a directory of another mount, with flags of its own.

#ifndef OCIMOUNT_BIND_MOUNT_H_
#define OCIMOUNT_BIND_MOUNT_H_

#include <string>

#include "kernel_mount.h"
#include "user_namespace.h"

namespace ocimount {

struct BindMountOptions {
  /** A mount point; what is mounted below it does not come along. */
  std::string source;
  std::string mountpoint;
  /** Shift owners: what the files have is INSIDE, what is shown is OUTSIDE. Empty: as they are. */
  IdMaps id_maps;
  MountFlags flags;
};

/** Clones the mount at `source`, makes the clone read-only with these flags, and attaches it at `mountpoint`. */
SystemFailure BindMount(const BindMountOptions& options);

}  // namespace ocimount

#endif  // OCIMOUNT_BIND_MOUNT_H_
