// What the thread behind a request may see, judged as the kernel does it for its own filesystems. FUSE says who asks, but
// not what they are capable of.

#ifndef OCIMOUNT_FUSE_CALLER_H_
#define OCIMOUNT_FUSE_CALLER_H_

#include <cstdint>
#include <string>

namespace ocimount {

/**
 * Removes the names of trusted.* from a list, each closed by a NUL, where `thread`, of the request's header, is listing
 * names and has no CAP_SYS_ADMIN on the machine. Looks into /proc, and only where there is such a name.
 *
 * An overlay that copies a file up lists names as well, in the course of some other call and with the rights of whoever
 * mounted it: it gets them all, or the copy would be without them. In a user namespace nobody can read their values, and a
 * copy would fail for it: there they are hidden from everybody.
 */
void HideTrustedNames(uint32_t thread, std::string* names);

}  // namespace ocimount

#endif  // OCIMOUNT_FUSE_CALLER_H_
