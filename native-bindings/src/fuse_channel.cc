#include "fuse_channel.h"

#include <fcntl.h>
#include <poll.h>
#include <sys/eventfd.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include <cerrno>
#include <cstdint>

#include "fuse_protocol.h"

namespace ocimount {

namespace {

/** How often to look for a mount that is not made yet: often at first, since it mostly comes at once. */
constexpr int kQuickLooks = 1000;
constexpr int kQuickLookMs = 1;
constexpr int kSlowLookMs = 20;

}  // namespace

std::shared_ptr<FuseDeviceChannel> FuseDeviceChannel::Open(int fd) {
  int wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
  if (wake_fd < 0) {
    close(fd);
    return nullptr;
  }
  return std::shared_ptr<FuseDeviceChannel>(new FuseDeviceChannel(fd, wake_fd, false));
}

FuseDeviceChannel::~FuseDeviceChannel() {
  close(fd_);
  if (wake_fd_ >= 0) close(wake_fd_);
}

ssize_t FuseDeviceChannel::Receive(void* buffer, size_t size) {
  for (int looks = 0;; looks++) {
    if (!is_initialized_) {
      pollfd waits[] = {{wake_fd_, POLLIN, 0}, {fd_, POLLIN, 0}};
      if (poll(waits, 2, -1) < 0) return -errno;
      if (waits[0].revents != 0) return -EINTR;
    }
    ssize_t length = read(fd_, buffer, size);
    if (length >= 0) return length;
    if (errno != EPERM || is_initialized_) return -errno;
    // There is no mount yet, and nothing to wait on for it.
    pollfd wake = {wake_fd_, POLLIN, 0};
    if (poll(&wake, 1, looks < kQuickLooks ? kQuickLookMs : kSlowLookMs) != 0) return -EINTR;
  }
}

int FuseDeviceChannel::Send(const iovec* parts, int count) {
  return writev(fd_, parts, count) < 0 ? errno : 0;
}

std::shared_ptr<FuseChannel> FuseDeviceChannel::Clone() {
  int fd = open("/dev/fuse", O_RDWR | O_CLOEXEC);
  if (fd < 0) return nullptr;
  uint32_t source = static_cast<uint32_t>(fd_);
  if (ioctl(fd, FUSE_DEV_IOC_CLONE, &source) != 0) {
    close(fd);
    return nullptr;
  }
  return std::shared_ptr<FuseChannel>(new FuseDeviceChannel(fd, -1, true));
}

void FuseDeviceChannel::Wake() {
  uint64_t one = 1;
  if (wake_fd_ >= 0 && write(wake_fd_, &one, sizeof one) < 0) {
    // Full: it is readable already.
  }
  if (!is_initialized_) return;
  struct {
    fuse_out_header header;
    fuse_notify_retrieve_out retrieve;
  } message{};
  message.header.len = sizeof message;
  message.header.error = FUSE_NOTIFY_RETRIEVE;
  message.retrieve.nodeid = FUSE_ROOT_ID;
  // It fails only where the connection has ended, or is about to: then read(2) gives ENODEV.
  iovec part{&message, sizeof message};
  Send(&part, 1);
}

}  // namespace ocimount
