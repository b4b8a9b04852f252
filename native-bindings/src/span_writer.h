// Makes the records and windows of the spans from the compressed bytes, as inflating passes them
// on. A span's end is known only when it is reached, so its digest runs along, and no more of its
// bytes is kept than its first 32 KiB of output can come from.
#pragma once

#include <cstddef>
#include <cstdint>
#include <utility>
#include <vector>

#include "sha_digest.h"
#include "span_record.h"
#include "window_usage.h"

namespace ocimount {

struct SpanStart {
  /// Without digest and place of the window.
  SpanRecord record;
  /// The 32 KiB of output before the span; empty where it begins with a member.
  std::vector<uint8_t> window;
};

class SpanWriter {
 public:
  /// Ends the span before.
  void Start(SpanStart start);
  /// Compressed bytes of the span. The byte that it shares with the one before is known and not
  /// given again.
  void Add(const uint8_t* bytes, size_t size);
  void Finish() { End(); }

  std::vector<uint8_t> TakeSpans() { return std::move(spans_); }
  std::vector<uint8_t> TakeWindows() { return std::move(windows_); }
  /// Whether the windows are more than a record can point into.
  bool has_overflown() const { return has_overflown_; }

 private:
  void End();

  ShaDigest hash_{HashKind::kSha256};
  WindowUsage used_;
  bool is_open_ = false;
  SpanStart span_;
  std::vector<uint8_t> head_;
  uint8_t last_byte_ = 0;
  bool has_overflown_ = false;
  std::vector<uint8_t> spans_;
  std::vector<uint8_t> windows_;
};

}  // namespace ocimount
