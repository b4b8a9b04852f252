// Where requests come from and replies go to: /dev/fuse, or a script in a test.
//
// How a blocked reader is woken for Stop(): before INIT was answered there is one reader, which polls the
// device and an eventfd. From then on all readers block in read(2), so that one request wakes one thread and no
// request costs a second system call; to wake one of them we send the kernel a FUSE_NOTIFY_RETRIEVE of no bytes of the
// root inode, to which it queues a FUSE_NOTIFY_REPLY, which is a message that a reader gets. Each reader that
// is to end needs one. (Closing a descriptor does not end a read(2) of it, and aborting needs fusectl.)

#ifndef OCIMOUNT_FUSE_CHANNEL_H_
#define OCIMOUNT_FUSE_CHANNEL_H_

#include <sys/types.h>
#include <sys/uio.h>

#include <atomic>
#include <cstddef>
#include <memory>

namespace ocimount {

class FuseChannel {
 public:
  virtual ~FuseChannel() = default;
  /** Waits for a request; gives its length or a negative errno. -ENODEV: the connection has ended. */
  virtual ssize_t Receive(void* buffer, size_t size) = 0;
  /** Sends one reply; gives 0 or an errno. */
  virtual int Send(const iovec* parts, int count) = 0;
  /** Gives a channel of its own for another thread, or nothing: then the thread shares this one. */
  virtual std::shared_ptr<FuseChannel> Clone() = 0;
  /** INIT was answered. */
  virtual void SetInitialized() = 0;
  /** Makes one blocked Receive return, -EINTR or with a message. */
  virtual void Wake() = 0;
};

/** A channel over /dev/fuse. */
class FuseDeviceChannel final : public FuseChannel {
 public:
  /** Takes over the descriptor, also where it gives nothing for want of an eventfd. */
  static std::shared_ptr<FuseDeviceChannel> Open(int fd);
  ~FuseDeviceChannel() override;

  ssize_t Receive(void* buffer, size_t size) override;
  int Send(const iovec* parts, int count) override;
  std::shared_ptr<FuseChannel> Clone() override;
  void SetInitialized() override { is_initialized_ = true; }
  void Wake() override;

 private:
  FuseDeviceChannel(int fd, int wake_fd, bool is_initialized)
      : fd_(fd), wake_fd_(wake_fd), is_initialized_(is_initialized) {}

  const int fd_;
  /** -1 in a clone. */
  const int wake_fd_;
  std::atomic<bool> is_initialized_;
};

}  // namespace ocimount

#endif  // OCIMOUNT_FUSE_CHANNEL_H_
