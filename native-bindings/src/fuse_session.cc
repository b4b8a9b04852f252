#include "fuse_session.h"

#include <algorithm>
#include <cerrno>

namespace ocimount {

namespace {

/** Without FUSE_ASYNC_DIO: who waits for such a read cannot be killed. */
constexpr uint64_t kWantedFlags =
    uint64_t{FUSE_ASYNC_READ} | FUSE_PARALLEL_DIROPS | FUSE_MAX_PAGES |
    FUSE_CACHE_SYMLINKS | FUSE_DO_READDIRPLUS | FUSE_READDIRPLUS_AUTO | FUSE_NO_OPEN_SUPPORT |
    FUSE_NO_OPENDIR_SUPPORT | FUSE_EXPORT_SUPPORT | kFuseInitExt;

/** The kernel takes the lesser of this and what its device is set to. */
constexpr uint32_t kMaxReadahead = 16 << 20;
/** Reads ahead that wait for missing pieces count, and must not hold up those that need not wait. */
constexpr uint16_t kMaxBackground = 512;
/** The least that the kernel takes. */
constexpr uint32_t kMaxWrite = 4096;

}  // namespace

int FuseSession::Negotiate(const FuseRequest& request, bool allows_idmap, FuseReply* reply) {
  fuse_init_in in;
  if (is_initialized) return EIO;
  // Only the version is sure to be there whatever the kernel's.
  if (!request.Args(&in, 8)) return EINVAL;
  if (in.major < kFuseMajor) return EPROTO;
  fuse_init_out out{};
  out.major = kFuseMajor;
  out.minor = kFuseMinor;
  if (in.major > kFuseMajor) {
    reply->Append(&out, sizeof out);
    return 0;
  }
  uint64_t offered = in.flags;
  if (offered & kFuseInitExt) offered |= uint64_t{in.flags2} << 32;
  flags = offered & (kWantedFlags | (allows_idmap ? kFuseAllowIdmap : 0));
  minor = out.minor = std::min(in.minor, kFuseMinor);
  out.max_readahead = kMaxReadahead;
  out.flags = static_cast<uint32_t>(flags);
  out.flags2 = static_cast<uint32_t>(flags >> 32);
  out.max_background = kMaxBackground;
  out.congestion_threshold = kMaxBackground / 4 * 3;
  out.max_write = kMaxWrite;
  out.time_gran = 1;
  out.max_pages = flags & FUSE_MAX_PAGES ? kMaxPages : 0;
  size_t size = minor < 5    ? FUSE_COMPAT_INIT_OUT_SIZE
                : minor < 23 ? FUSE_COMPAT_22_INIT_OUT_SIZE
                             : sizeof out;
  is_initialized = reply->Append(&out, size);
  return is_initialized ? 0 : EIO;
}

}  // namespace ocimount
