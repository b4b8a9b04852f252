// A user namespace that is there for its maps alone: a mount shifts owners by them.

#ifndef OCIMOUNT_USER_NAMESPACE_H_
#define OCIMOUNT_USER_NAMESPACE_H_

#include <string>

#include "kernel_mount.h"

namespace ocimount {

/** Maps of ids as /proc/PID/uid_map takes them: a line `INSIDE OUTSIDE COUNT` for each range. */
struct IdMaps {
  std::string uids;
  std::string gids;
};

/** Makes a user namespace with these maps and no process in it; `fd`, where it succeeds, is the caller's to close. */
SystemFailure OpenUserNamespace(const IdMaps& maps, int* fd);

}  // namespace ocimount

#endif  // OCIMOUNT_USER_NAMESPACE_H_
