#include "fuse_caller.h"

#include <fcntl.h>
#include <linux/capability.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <cstdlib>
#include <iterator>
#include <string_view>

namespace ocimount {

namespace {

constexpr std::string_view kTrusted = "trusted.";
/** The number that the kernel gives the first user namespace, PROC_USER_INIT_INO. */
constexpr ino_t kInitialUserNamespace = 0xEFFFFFFD;
/**
 * The calls that list names, also those of 32-bit programs, as x86 and ARM number them, and listxattrat(2), which headers may
 * lack. Where a number is that of another call in the other kind of program, that one never copies a file up.
 */
constexpr long kListing[] = {SYS_listxattr, SYS_llistxattr, SYS_flistxattr, 232, 233, 234, 465};
/** What x32 adds to the numbers of x86-64. */
constexpr long kX32 = 0x40000000;
/** A thread that has not slept yet after some three seconds of looking is not waited for. */
constexpr useconds_t kFirstPause = 20;
constexpr useconds_t kLongestPause = 1 << 20;

/** Reads the one line of a file of /proc; empty where it cannot be read. */
std::string ReadProc(const std::string& path) {
  char text[256];
  int fd = open(path.c_str(), O_RDONLY | O_CLOEXEC);
  if (fd < 0) return {};
  ssize_t length = read(fd, text, sizeof text);
  close(fd);
  return length < 0 ? std::string() : std::string(text, static_cast<size_t>(length));
}

bool IsInInitialUserNamespace(const std::string& process) {
  struct stat stats;
  return stat((process + "/ns/user").c_str(), &stats) == 0 && stats.st_ino == kInitialUserNamespace;
}

/** Whether `/proc/TID/syscall` tells of a call that lists names. Where it tells nothing it does not. */
bool TellsOfListing(const std::string& call) {
  char* end;
  const long number = std::strtol(call.c_str(), &end, 10);
  return end != call.c_str() && std::ranges::find(kListing, number & ~kX32) != std::end(kListing);
}

/** Whether the thread waits in a call that lists names. One that cannot be caught waiting is taken to. */
bool IsListing(const std::string& process) {
  for (useconds_t pause = kFirstPause; pause < kLongestPause; pause *= 2) {
    const std::string call = ReadProc(process + "/syscall");
    if (!call.starts_with("running")) return TellsOfListing(call);
    // The request was quicker here than its thread at going to sleep.
    usleep(pause);
  }
  return true;
}

/** Whether the thread has CAP_SYS_ADMIN in its user namespace. */
bool HasAdministrator(uint32_t thread) {
  __user_cap_header_struct header = {_LINUX_CAPABILITY_VERSION_3, static_cast<int>(thread)};
  __user_cap_data_struct sets[_LINUX_CAPABILITY_U32S_3] = {};
  if (syscall(SYS_capget, &header, sets) != 0) return false;
  return (sets[CAP_TO_INDEX(CAP_SYS_ADMIN)].effective & CAP_TO_MASK(CAP_SYS_ADMIN)) != 0;
}

bool MaySeeTrusted(uint32_t thread) {
  static const bool is_initial = IsInInitialUserNamespace("/proc/self");
  if (!is_initial) return false;
  const std::string process = "/proc/" + std::to_string(thread);
  return !IsListing(process) || (HasAdministrator(thread) && IsInInitialUserNamespace(process));
}

}  // namespace

void HideTrustedNames(uint32_t thread, std::string* names) {
  std::string seen;
  std::string_view rest = *names;
  while (!rest.empty()) {
    size_t length = rest.find('\0') + 1;
    if (!rest.starts_with(kTrusted)) seen.append(rest.substr(0, length));
    rest.remove_prefix(length);
  }
  if (seen.size() != names->size() && !MaySeeTrusted(thread)) names->swap(seen);
}

}  // namespace ocimount
