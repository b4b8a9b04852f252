#include "plain_mount.h"

#include <sys/mount.h>
#include <unistd.h>

#include <cerrno>

namespace ocimount {

SystemFailure PlainMount(const PlainMountOptions& options) {
  if (options.data.size() >= static_cast<size_t>(sysconf(_SC_PAGESIZE))) {
    errno = E2BIG;
    return Failure("mount", "");
  }
  if (mount(options.source.c_str(), options.mountpoint.c_str(), options.type.c_str(),
            SystemFlags(options.flags), options.data.c_str()) != 0) {
    return Failure("mount", "");
  }
  return {};
}

}  // namespace ocimount
