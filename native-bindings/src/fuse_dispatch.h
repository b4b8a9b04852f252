// From a request to the body of its answer, for everything that needs no device: what reads content, interrupts or
// initializes is the server's.

#ifndef OCIMOUNT_FUSE_DISPATCH_H_
#define OCIMOUNT_FUSE_DISPATCH_H_

#include "fuse_filesystem.h"
#include "fuse_request.h"
#include "fuse_session.h"

namespace ocimount {

/** Tells whether the kernel takes no answer to an opcode. */
constexpr bool IsUnanswered(uint32_t opcode) {
  return opcode == FUSE_FORGET || opcode == FUSE_BATCH_FORGET || opcode == FUSE_INTERRUPT ||
         opcode == FUSE_NOTIFY_REPLY;
}

/** Answers requests for one filesystem. Keeps nothing of them. */
class FuseDispatcher {
 public:
  FuseDispatcher(const FuseFilesystem& filesystem, const FuseSession& session, bool checks_access)
      : filesystem_(filesystem), session_(session), checks_access_(checks_access) {}

  /** Fills in the body; gives 0 or an errno, with which the body does not count. */
  int Answer(const FuseRequest& request, FuseReply* reply) const;

 private:
  int Lookup(const FuseRequest& request, FuseReply* reply) const;
  int GetAttributes(const FuseRequest& request, FuseReply* reply) const;
  int ReadLink(const FuseRequest& request, FuseReply* reply) const;
  int Open(const FuseRequest& request, FuseReply* reply) const;
  int OpenDirectory(const FuseRequest& request, FuseReply* reply) const;
  int ReadDirectory(const FuseRequest& request, bool is_plus, FuseReply* reply) const;
  int GetXattr(const FuseRequest& request, FuseReply* reply) const;
  int ListXattr(const FuseRequest& request, FuseReply* reply) const;
  int Access(const FuseRequest& request) const;
  int Seek(const FuseRequest& request, FuseReply* reply) const;
  int Statfs(FuseReply* reply) const;

  const FuseFilesystem& filesystem_;
  const FuseSession& session_;
  const bool checks_access_;
};

}  // namespace ocimount

#endif  // OCIMOUNT_FUSE_DISPATCH_H_
