#include "fusermount.h"

#include <fcntl.h>
#include <spawn.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>

namespace ocimount {
namespace {

/// Where the program finds its end of the socket.
constexpr int kCommFd = 3;
constexpr size_t kMaxMessage = 4096;

/// Closes what it holds.
class Fd {
 public:
  explicit Fd(int fd) : fd_(fd) {}
  Fd(const Fd&) = delete;
  Fd& operator=(const Fd&) = delete;
  ~Fd() { Reset(); }
  int get() const { return fd_; }
  void Reset() {
    if (fd_ >= 0) close(fd_);
    fd_ = -1;
  }

 private:
  int fd_;
};

FusermountResult Failed(const char* call, int error_number) {
  return {-1, error_number, std::string(call) + ": " + strerror(error_number)};
}

/// Gives the descriptor of the first message that carries one, or -1 when the other end closes first.
int ReceiveFd(int socket) {
  char byte = 0;
  iovec part = {&byte, 1};
  alignas(cmsghdr) char control[CMSG_SPACE(sizeof(int))] = {};
  msghdr message = {};
  message.msg_iov = &part;
  message.msg_iovlen = 1;
  message.msg_control = control;
  message.msg_controllen = sizeof control;
  ssize_t received = -1;
  do {
    received = recvmsg(socket, &message, MSG_CMSG_CLOEXEC);
  } while (received < 0 && errno == EINTR);
  if (received <= 0) return -1;
  for (cmsghdr* part_of = CMSG_FIRSTHDR(&message); part_of != nullptr;
       part_of = CMSG_NXTHDR(&message, part_of)) {
    if (part_of->cmsg_level != SOL_SOCKET || part_of->cmsg_type != SCM_RIGHTS) continue;
    if (part_of->cmsg_len < CMSG_LEN(sizeof(int))) continue;
    int fd = -1;
    memcpy(&fd, CMSG_DATA(part_of), sizeof fd);
    return fd;
  }
  return -1;
}

/// Reads to the end; what is longer than the cap is read and dropped, so that the writer never blocks.
std::string ReadAll(int fd) {
  std::string text;
  char buffer[512];
  for (;;) {
    const ssize_t count = read(fd, buffer, sizeof buffer);
    if (count < 0 && errno == EINTR) continue;
    if (count <= 0) break;
    if (text.size() < kMaxMessage) text.append(buffer, static_cast<size_t>(count));
  }
  while (!text.empty() && text.back() == '\n') text.pop_back();
  for (char& letter : text) {
    if (letter == '\n') letter = ' ';
  }
  return text;
}

std::vector<char*> Pointers(const std::vector<std::string>& words) {
  std::vector<char*> pointers;
  pointers.reserve(words.size() + 1);
  for (const std::string& word : words) pointers.push_back(const_cast<char*>(word.c_str()));
  pointers.push_back(nullptr);
  return pointers;
}

}  // namespace

FusermountResult RunFusermount(const std::vector<std::string>& arguments,
                               const std::vector<std::string>& environment) {
  int pair[2];
  if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) != 0) {
    return Failed("socketpair", errno);
  }
  Fd ours(pair[0]);
  Fd theirs(pair[1]);
  int pipe_ends[2];
  if (pipe2(pipe_ends, O_CLOEXEC) != 0) return Failed("pipe2", errno);
  Fd messages(pipe_ends[0]);
  Fd standard_error(pipe_ends[1]);

  std::vector<std::string> variables = environment;
  variables.push_back("_FUSE_COMMFD=" + std::to_string(kCommFd));
  std::vector<char*> argv = Pointers(arguments);
  std::vector<char*> envp = Pointers(variables);

  posix_spawn_file_actions_t actions;
  int error = posix_spawn_file_actions_init(&actions);
  if (error != 0) return Failed("posix_spawn", error);
  // Standard error first: it may itself be descriptor 3.
  error = posix_spawn_file_actions_adddup2(&actions, standard_error.get(), STDERR_FILENO);
  if (error == 0) error = posix_spawn_file_actions_adddup2(&actions, theirs.get(), kCommFd);
  pid_t child = -1;
  if (error == 0) error = posix_spawnp(&child, argv[0], &actions, nullptr, argv.data(), envp.data());
  posix_spawn_file_actions_destroy(&actions);
  theirs.Reset();
  standard_error.Reset();
  if (error != 0) return Failed(arguments[0].c_str(), error);

  const int fd = ReceiveFd(ours.get());
  const std::string text = ReadAll(messages.get());
  int status = 0;
  while (waitpid(child, &status, 0) < 0 && errno == EINTR) {
  }
  const bool succeeded = fd >= 0 && WIFEXITED(status) && WEXITSTATUS(status) == 0;
  if (succeeded) return {fd, 0, ""};
  if (fd >= 0) close(fd);
  return {-1, 0, text.empty() ? arguments[0] + " failed" : text};
}

}  // namespace ocimount
