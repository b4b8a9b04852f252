// One request as it came from the kernel, and the body of its answer. Nothing that the request says of lengths is
// believed before it was compared with what was received.

#ifndef OCIMOUNT_FUSE_REQUEST_H_
#define OCIMOUNT_FUSE_REQUEST_H_

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <string_view>

#include "fuse_protocol.h"

namespace ocimount {

class FuseRequest {
 public:
  /** Takes no copy. False where it is no request. */
  bool Parse(const uint8_t* bytes, size_t length) {
    if (length < sizeof header_) return false;
    std::memcpy(&header_, bytes, sizeof header_);
    if (header_.len != length) return false;
    body_ = bytes + sizeof header_;
    body_length_ = length - sizeof header_;
    // `total_extlen`, behind the pid: headers older than Linux 6.3 call it padding, and so it is zero for older kernels.
    uint16_t units;
    std::memcpy(&units, bytes + offsetof(fuse_in_header, pid) + sizeof header_.pid, sizeof units);
    size_t extensions = size_t{units} * 8;
    if (extensions > body_length_) return false;
    body_length_ -= extensions;
    return true;
  }

  const fuse_in_header& header() const { return header_; }
  uint32_t opcode() const { return header_.opcode; }
  uint64_t nodeid() const { return header_.nodeid; }

  /** Copies the argument; what an older kernel leaves out behind `least` bytes is zero. */
  template <typename T>
  bool Args(T* args, size_t least = sizeof(T)) const {
    if (body_length_ < least) return false;
    *args = T{};
    std::memcpy(args, body_, std::min(body_length_, sizeof(T)));
    return true;
  }

  /** Gives the name behind `skip` bytes, which must be closed by a NUL. */
  bool Name(size_t skip, std::string_view* name) const {
    if (skip >= body_length_) return false;
    const char* start = reinterpret_cast<const char*>(body_ + skip);
    size_t length = strnlen(start, body_length_ - skip);
    *name = {start, length};
    return length < body_length_ - skip;
  }

 private:
  fuse_in_header header_{};
  const uint8_t* body_ = nullptr;
  size_t body_length_ = 0;
};

/** The body of an answer, in a buffer of the thread's. */
class FuseReply {
 public:
  FuseReply(uint8_t* buffer, size_t capacity) : buffer_(buffer), capacity_(capacity) {}

  uint8_t* data() const { return buffer_; }
  size_t size() const { return size_; }
  size_t capacity() const { return capacity_; }
  void set_size(size_t size) { size_ = size; }

  /** Adds bytes; false, and nothing is added, where there is no room. */
  bool Append(const void* bytes, size_t length) {
    if (length > capacity_ - size_) return false;
    if (length > 0) std::memcpy(buffer_ + size_, bytes, length);
    size_ += length;
    return true;
  }
  bool Append(std::string_view text) { return Append(text.data(), text.size()); }
  /** Adds zeros up to a multiple of 8. */
  void Align() {
    while (size_ % 8 != 0 && size_ < capacity_) buffer_[size_++] = 0;
  }

 private:
  uint8_t* const buffer_;
  const size_t capacity_;
  size_t size_ = 0;
};

}  // namespace ocimount

#endif  // OCIMOUNT_FUSE_REQUEST_H_
