#include "user_namespace.h"

#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <cstdint>

namespace ocimount {
namespace {

/** struct clone_args of clone3(2), as far as Linux 5.3 had it. */
struct CloneArguments {
  uint64_t flags = 0;
  uint64_t pidfd = 0;
  uint64_t child_tid = 0;
  uint64_t parent_tid = 0;
  // None, so that the end of the process is news to nobody who waits for children of his own.
  uint64_t exit_signal = 0;
  uint64_t stack = 0;
  uint64_t stack_size = 0;
  uint64_t tls = 0;
};

/**
 * Starts a copy of this process, in a user namespace of its own, that ends when `pipe` closes. It shares nothing with other
 * threads but what the kernel does for it, so that none of them can have left a lock to it.
 */
pid_t StartHolder(const int (&pipe)[2]) {
  CloneArguments arguments;
  arguments.flags = CLONE_NEWUSER;
  const auto pid = static_cast<pid_t>(syscall(SYS_clone3, &arguments, sizeof arguments));
  if (pid != 0) return pid;
  char byte = 0;
  // Nothing else stays open: this process may be killed, and then it must not be here that a file is still locked, a mount served
  // or the pipe of another holder written to.
  dup2(pipe[0], 0);
  syscall(SYS_close_range, 1U, ~0U, 0U);
  while (read(0, &byte, 1) < 0 && errno == EINTR) continue;
  _exit(0);
}

bool WriteMap(const std::string& path, const std::string& map) {
  const int fd = open(path.c_str(), O_WRONLY | O_CLOEXEC);
  if (fd < 0) return false;
  // The kernel takes a map by one call, whole or not at all.
  const bool is_written = write(fd, map.data(), map.size()) == static_cast<ssize_t>(map.size());
  const int error_number = errno;
  close(fd);
  errno = error_number;
  return is_written;
}

SystemFailure SetUp(pid_t holder, const IdMaps& maps, int* fd) {
  const std::string directory = "/proc/" + std::to_string(holder);
  if (!WriteMap(directory + "/gid_map", maps.gids)) return Failure("write", "map group ids");
  if (!WriteMap(directory + "/uid_map", maps.uids)) return Failure("write", "map user ids");
  *fd = open((directory + "/ns/user").c_str(), O_RDONLY | O_CLOEXEC);
  if (*fd < 0) return Failure("open", "open the user namespace");
  return {};
}

}  // namespace

SystemFailure OpenUserNamespace(const IdMaps& maps, int* fd) {
  int pipe[2];
  if (pipe2(pipe, O_CLOEXEC) != 0) return Failure("pipe2", "make a user namespace");
  const pid_t holder = StartHolder(pipe);
  const SystemFailure failure =
      holder < 0 ? Failure("clone3", "make a user namespace") : SetUp(holder, maps, fd);
  close(pipe[0]);
  close(pipe[1]);
  if (holder > 0) {
    kill(holder, SIGKILL);
    while (waitpid(holder, nullptr, __WALL) < 0 && errno == EINTR) continue;
  }
  return failure;
}

}  // namespace ocimount
