// What was agreed with the kernel in INIT. Written by the first worker before the others start, read-only from then on.

#ifndef OCIMOUNT_FUSE_SESSION_H_
#define OCIMOUNT_FUSE_SESSION_H_

#include <cstdint>

#include "fuse_request.h"

namespace ocimount {

struct FuseSession {
  bool is_initialized = false;
  uint32_t minor = 0;
  /** Flags that both sides know, those of `flags2` from bit 32 on. */
  uint64_t flags = 0;

  /**
   * Answers INIT; gives an errno. A kernel of a newer major version is told ours and asks again, so the session may not be
   * initialized behind an answer without error.
   */
  int Negotiate(const FuseRequest& request, bool allows_idmap, FuseReply* reply);
};

}  // namespace ocimount

#endif  // OCIMOUNT_FUSE_SESSION_H_
