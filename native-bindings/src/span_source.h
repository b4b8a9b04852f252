// The compressed bytes of consecutive spans, read from a blob. They are held in memory from the
// check of their digests to inflating; only where a span is huge, since its writer made one endless
// deflate block or much padding, they are read twice, and what a change in between does is left to
// the pieces' digests.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include "span_record.h"

namespace ocimount {

class SpanSource {
 public:
  enum class Status { kRight, kWrongDigest, kEndsEarly, kReadError };

  /// The stretch [begin, end) of the blob, which itself begins at `blob_offset` of the file. begin
  /// < end, and neither leads beyond what off_t can hold.
  SpanSource(int fd, uint64_t blob_offset, uint64_t begin, uint64_t end)
      : fd_(fd), blob_offset_(blob_offset), begin_(begin), end_(end), at_(begin) {}

  /// Reads, and compares the bytes of each span with its digest. Each one goes on to the next one's
  /// beginning, the last one to the stretch's end; spans that share a byte have it both.
  Status Check(const std::vector<SpanRecord>& spans);
  /// Of kReadError.
  int error_number() const { return error_number_; }

  /// Gives the next bytes of the stretch, valid until the next call; none at its end or when
  /// reading failed.
  const uint8_t* Next(size_t* size);

 private:
  const uint8_t* At(uint64_t offset, size_t size);
  bool Read(uint64_t offset, size_t size, uint8_t* target);

  const int fd_;
  const uint64_t blob_offset_;
  const uint64_t begin_;
  const uint64_t end_;
  /// Where Next goes on.
  uint64_t at_;
  bool is_held_ = false;
  /// The whole stretch, or one chunk of it.
  std::vector<uint8_t> bytes_;
  Status status_ = Status::kRight;
  int error_number_ = 0;
};

}  // namespace ocimount
