// Where requests come from and replies go to: /dev/fuse, or a script in a test.
//
// How readers are woken for Stop(): neither closing a descriptor nor anything that may be written to it ends a read(2) of it, and
// aborting needs fusectl. So each channel waits in an epoll of its own for its descriptor and for an eventfd that all channels
// of a connection share, and reads without blocking. The descriptor is in it with EPOLLEXCLUSIVE: one request
// wakes one thread, as it does with threads that block in read(2), for a system call more.

#ifndef OCIMOUNT_FUSE_CHANNEL_H_
#define OCIMOUNT_FUSE_CHANNEL_H_

#include <sys/types.h>
#include <sys/uio.h>

#include <cstddef>
#include <memory>

namespace ocimount {

class FuseChannel {
 public:
  virtual ~FuseChannel() = default;
  /**
   * Waits for a request, at first for the mount; one thread at a time. Gives its length or a negative errno: -ENODEV when
   * the connection has ended, -ECANCELED behind Wake.
   */
  virtual ssize_t Receive(void* buffer, size_t size) = 0;
  /** Sends one reply, from any thread; gives 0 or an errno. */
  virtual int Send(const iovec* parts, int count) = 0;
  /** Gives a channel of the same connection for another thread, or nothing for want of descriptors. */
  virtual std::shared_ptr<FuseChannel> Clone() = 0;
  /** Ends every Receive of this channel and its clones, those to come too. */
  virtual void Wake() = 0;
};

/** A descriptor that is closed with its last user. */
class SharedFd {
 public:
  explicit SharedFd(int fd) : fd_(fd) {}
  ~SharedFd();
  SharedFd(const SharedFd&) = delete;
  SharedFd& operator=(const SharedFd&) = delete;
  int get() const { return fd_; }

 private:
  const int fd_;
};

/** A channel over /dev/fuse. */
class FuseDeviceChannel final : public FuseChannel {
 public:
  /** Takes over the descriptor, also where it gives nothing for want of others. */
  static std::shared_ptr<FuseDeviceChannel> Open(int fd);

  ssize_t Receive(void* buffer, size_t size) override;
  int Send(const iovec* parts, int count) override;
  std::shared_ptr<FuseChannel> Clone() override;
  void Wake() override;

 private:
  FuseDeviceChannel(int fd, int epoll_fd, std::shared_ptr<SharedFd> wake)
      : fd_(fd), epoll_(epoll_fd), wake_(std::move(wake)) {}
  static std::shared_ptr<FuseDeviceChannel> OpenWith(int fd, std::shared_ptr<SharedFd> wake);

  /** Waits for the mount and adds the descriptor to the epoll; -EAGAIN where there is no request yet. */
  ssize_t ReceiveFirst(void* buffer, size_t size);

  const SharedFd fd_;
  const SharedFd epoll_;
  const std::shared_ptr<SharedFd> wake_;
  /** Of the thread that receives. */
  bool is_watched_ = false;
};

}  // namespace ocimount

#endif  // OCIMOUNT_FUSE_CHANNEL_H_
