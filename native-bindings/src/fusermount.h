// Mounting as an ordinary user: fusermount3, which is setuid, opens /dev/fuse, mounts, and passes the descriptor back over
// the socket that _FUSE_COMMFD names.
#pragma once

#include <string>
#include <vector>

namespace ocimount {

struct FusermountResult {
  /// The descriptor of /dev/fuse, close-on-exec; -1 where `error` says why.
  int fd = -1;
  /// errno of the system call that failed, 0 where the program itself refused.
  int error_number = 0;
  /// What the program wrote to standard error, one line, or what failed here.
  std::string error;
};

/// Runs the program with the given arguments and environment and waits for the descriptor and its end. Blocks.
FusermountResult RunFusermount(const std::vector<std::string>& arguments,
                               const std::vector<std::string>& environment);

}  // namespace ocimount
