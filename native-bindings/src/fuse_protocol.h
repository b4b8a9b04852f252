// The FUSE protocol as <linux/fuse.h> has it, and what headers of an older system lack, with the numbers of
// include/uapi/linux/fuse.h.

#ifndef OCIMOUNT_FUSE_PROTOCOL_H_
#define OCIMOUNT_FUSE_PROTOCOL_H_

#include <linux/fuse.h>

#include <cstddef>
#include <cstdint>

namespace ocimount {

/** What we speak: 7.41 brought FUSE_ALLOW_IDMAP. */
constexpr uint32_t kFuseMajor = 7;
constexpr uint32_t kFuseMinor = 41;

constexpr uint32_t kOpTmpfile = 51;
constexpr uint32_t kOpStatx = 52;

// Flags of INIT from bit 30 on; those above 31 travel in `flags2`.
constexpr uint64_t kFuseInitExt = uint64_t{1} << 30;
constexpr uint64_t kFuseAllowIdmap = uint64_t{1} << 40;

constexpr uint32_t kFopenNoflush = 1 << 5;

/** The most that a read may ask for: `max_pages` of 4096 bytes. */
constexpr uint32_t kMaxPages = 256;
constexpr size_t kMaxReadSize = size_t{kMaxPages} * 4096;
/** Requests carry little: there are no writes but those after a remount, of 4096 bytes. */
constexpr size_t kMaxRequestSize = 16384;
/** The kernel takes no errno beyond this. */
constexpr int kMaxErrno = 511;
/** Thirty years; enough, and no overflow whatever the kernel counts in. */
constexpr uint64_t kForEverSeconds = 1000000000;

}  // namespace ocimount

#endif  // OCIMOUNT_FUSE_PROTOCOL_H_
