#include "fuse_channel.h"

#include <fcntl.h>
#include <poll.h>
#include <sys/epoll.h>
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

/** Adds a descriptor to an epoll, by which it is told from others. */
bool Watch(int epoll_fd, int fd, uint32_t events) {
  epoll_event event{};
  event.events = events;
  event.data.fd = fd;
  return epoll_ctl(epoll_fd, EPOLL_CTL_ADD, fd, &event) == 0;
}

}  // namespace

SharedFd::~SharedFd() {
  if (fd_ >= 0) close(fd_);
}

std::shared_ptr<FuseDeviceChannel> FuseDeviceChannel::Open(int fd) {
  return OpenWith(fd, std::make_shared<SharedFd>(eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)));
}

std::shared_ptr<FuseDeviceChannel> FuseDeviceChannel::OpenWith(int fd,
                                                               std::shared_ptr<SharedFd> wake) {
  int epoll_fd = epoll_create1(EPOLL_CLOEXEC);
  std::shared_ptr<FuseDeviceChannel> channel(new FuseDeviceChannel(fd, epoll_fd, std::move(wake)));
  bool is_ready = fcntl(fd, F_SETFL, O_NONBLOCK) == 0 &&
                  Watch(epoll_fd, channel->wake_->get(), EPOLLIN);
  return is_ready ? channel : nullptr;
}

ssize_t FuseDeviceChannel::Receive(void* buffer, size_t size) {
  if (!is_watched_) {
    ssize_t length = ReceiveFirst(buffer, size);
    if (length != -EAGAIN) return length;
  }
  epoll_event events[2];
  int count = epoll_wait(epoll_.get(), events, 2, -1);
  if (count < 0) return -errno;
  for (int index = 0; index < count; index++) {
    if (events[index].data.fd == wake_->get()) return -ECANCELED;
  }
  ssize_t length = read(fd_.get(), buffer, size);
  return length < 0 ? -errno : length;
}

ssize_t FuseDeviceChannel::ReceiveFirst(void* buffer, size_t size) {
  ssize_t length;
  for (int looks = 0;; looks++) {
    length = read(fd_.get(), buffer, size);
    if (length < 0) length = -errno;
    if (length != -EPERM) break;
    // There is no mount yet, and nothing to wait on for it.
    pollfd wake = {wake_->get(), POLLIN, 0};
    if (poll(&wake, 1, looks < kQuickLooks ? kQuickLookMs : kSlowLookMs) > 0) return -ECANCELED;
  }
  // Not before: an epoll never hears of a connection that its descriptor got afterwards.
  if (!Watch(epoll_.get(), fd_.get(), EPOLLIN | EPOLLEXCLUSIVE)) return -errno;
  is_watched_ = true;
  return length;
}

int FuseDeviceChannel::Send(const iovec* parts, int count) {
  return writev(fd_.get(), parts, count) < 0 ? errno : 0;
}

std::shared_ptr<FuseChannel> FuseDeviceChannel::Clone() {
  int fd = open("/dev/fuse", O_RDWR | O_CLOEXEC);
  uint32_t source = static_cast<uint32_t>(fd_.get());
  if (fd >= 0 && ioctl(fd, FUSE_DEV_IOC_CLONE, &source) != 0) {
    close(fd);
    fd = -1;
  }
  // A kernel that does not clone serves all threads from one queue.
  if (fd < 0) fd = fcntl(fd_.get(), F_DUPFD_CLOEXEC, 0);
  return fd < 0 ? nullptr : OpenWith(fd, wake_);
}

void FuseDeviceChannel::Wake() {
  // Nobody takes it out again. It fails only where it is full, which wakes as well.
  eventfd_write(wake_->get(), 1);
}

}  // namespace ocimount
