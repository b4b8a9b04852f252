// How much of a file that is still being written can be read: who reads it waits here for more.
#pragma once

#include <algorithm>
#include <condition_variable>
#include <cstdint>
#include <mutex>

namespace ocimount {

class Arrival {
 public:
  explicit Arrival(uint64_t size) : size_(size) {}

  /// From any thread: so many bytes are there by now.
  void Advance(uint64_t size) {
    const std::scoped_lock lock(mutex_);
    size_ = std::max(size_, size);
    changed_.notify_all();
  }

  /// From any thread: nobody waits any longer.
  void Close() {
    const std::scoped_lock lock(mutex_);
    is_closed_ = true;
    changed_.notify_all();
  }

  /// Waits until `size` bytes are there; gives false after Close.
  bool Await(uint64_t size) {
    std::unique_lock lock(mutex_);
    changed_.wait(lock, [&] { return is_closed_ || size_ >= size; });
    return !is_closed_;
  }

 private:
  std::mutex mutex_;
  std::condition_variable changed_;
  uint64_t size_;
  bool is_closed_ = false;
};

}  // namespace ocimount
