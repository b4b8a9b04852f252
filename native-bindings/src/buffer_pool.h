// A fixed number of buffers that go round between threads: whoever wants one more waits until the
// last owner of another has let go. So what a pass holds in memory has a bound, and its pages are
// touched once.
#pragma once

#include <condition_variable>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <mutex>
#include <utility>
#include <vector>

namespace ocimount {

struct Buffer {
  std::unique_ptr<uint8_t[]> bytes;
  size_t size = 0;
  /// Where the bytes belong.
  uint64_t offset = 0;
};
using SharedBuffer = std::shared_ptr<Buffer>;

/// Outlives its buffers.
class BufferPool {
 public:
  BufferPool(size_t count, size_t capacity) : count_(count), capacity_(capacity) {
    free_.reserve(count);
  }

  size_t capacity() const { return capacity_; }

  /// Gives an empty buffer, or null when the pool was closed.
  SharedBuffer Take() {
    std::unique_ptr<Buffer> buffer = TakeFree();
    if (buffer == nullptr) return nullptr;
    buffer->size = 0;
    return SharedBuffer(buffer.release(), [this](Buffer* done) { Return(done); });
  }

  void Close() {
    const std::scoped_lock lock(mutex_);
    is_closed_ = true;
    freed_.notify_all();
  }

 private:
  std::unique_ptr<Buffer> TakeFree() {
    std::unique_lock lock(mutex_);
    freed_.wait(lock, [this] { return is_closed_ || !free_.empty() || made_ < count_; });
    if (is_closed_) return nullptr;
    if (free_.empty()) {
      auto buffer = std::make_unique<Buffer>();
      buffer->bytes = std::make_unique_for_overwrite<uint8_t[]>(capacity_);
      ++made_;
      return buffer;
    }
    std::unique_ptr<Buffer> buffer = std::move(free_.back());
    free_.pop_back();
    return buffer;
  }

  void Return(Buffer* done) {
    const std::scoped_lock lock(mutex_);
    free_.emplace_back(done);
    freed_.notify_one();
  }

  const size_t count_;
  const size_t capacity_;
  std::mutex mutex_;
  std::condition_variable freed_;
  std::vector<std::unique_ptr<Buffer>> free_;
  size_t made_ = 0;
  bool is_closed_ = false;
};

}  // namespace ocimount
