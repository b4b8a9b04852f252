// Inflates from a checkpoint on, through the ends of members and the headers of the next.
#pragma once

#include <zlib.h>

#include <cstddef>
#include <cstdint>

#include "span_record.h"
#include "span_source.h"

namespace ocimount {

class SpanInflater {
 public:
  explicit SpanInflater(SpanSource* source) : source_(*source) {}
  SpanInflater(const SpanInflater&) = delete;
  SpanInflater& operator=(const SpanInflater&) = delete;
  ~SpanInflater() {
    if (is_open_) inflateEnd(&stream_);
  }

  /// Once. `window` is 32 KiB of output before the span. Gives false where the source or zlib
  /// fails, as do all.
  bool Open(const SpanRecord& span, const uint8_t* window);
  /// Gives exactly `size` bytes, or false.
  bool Take(uint8_t* target, size_t size);
  bool Skip(uint64_t size);

 private:
  bool HasInput();
  bool PassBytes(size_t count);
  bool BeginNextMember();

  SpanSource& source_;
  z_stream stream_ = {};
  bool is_open_ = false;
  bool is_raw_ = false;
};

}  // namespace ocimount
