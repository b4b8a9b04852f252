// Mounts of filesystems that the kernel makes by itself: an overlay, a tmpfs.

#ifndef OCIMOUNT_PLAIN_MOUNT_H_
#define OCIMOUNT_PLAIN_MOUNT_H_

#include <string>

#include "kernel_mount.h"

namespace ocimount {

struct PlainMountOptions {
  std::string type;
  /** Shown as the source of the mount. */
  std::string source;
  std::string mountpoint;
  /** The filesystem's own options, with commas between them. */
  std::string data;
  MountFlags flags;
};

/** Mounts it; E2BIG when the options do not fit into the page that mount(2) reads, of which the kernel would drop the end. */
SystemFailure PlainMount(const PlainMountOptions& options);

}  // namespace ocimount

#endif  // OCIMOUNT_PLAIN_MOUNT_H_
