#include "fuse_caller.h"

#include <fcntl.h>
#include <linux/capability.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cstdlib>
#include <string_view>

namespace ocimount {

namespace {

constexpr std::string_view kTrusted = "trusted.";
/** The number that the kernel gives the first user namespace, PROC_USER_INIT_INO. */
constexpr ino_t kInitialUserNamespace = 0xEFFFFFFD;
/** listxattrat(2), of Linux 6.13, which headers may lack. */
constexpr long kSysListxattrat = 465;

/** Reads a file of /proc, as far as it matters here; empty where it cannot be read. */
std::string ReadProc(const std::string& path) {
  char text[4096];
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

/** Whether the thread waits in a call that lists names. Where that cannot be told it does not. */
bool IsListing(const std::string& process) {
  const std::string call = ReadProc(process + "/syscall");
  char* end;
  long number = std::strtol(call.c_str(), &end, 10);
  if (end == call.c_str()) return false;
  return number == SYS_listxattr || number == SYS_llistxattr || number == SYS_flistxattr ||
         number == kSysListxattrat;
}

bool HasAdministrator(const std::string& process) {
  constexpr std::string_view kField = "\nCapEff:\t";
  const std::string status = ReadProc(process + "/status");
  size_t at = status.find(kField);
  if (at == std::string::npos) return false;
  uint64_t capabilities = std::strtoull(status.c_str() + at + kField.size(), nullptr, 16);
  return (capabilities >> CAP_SYS_ADMIN & 1) != 0 && IsInInitialUserNamespace(process);
}

bool MaySeeTrusted(uint32_t thread) {
  static const bool is_initial = IsInInitialUserNamespace("/proc/self");
  if (!is_initial) return false;
  const std::string process = "/proc/" + std::to_string(thread);
  return !IsListing(process) || HasAdministrator(process);
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
