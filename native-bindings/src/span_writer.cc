#include "span_writer.h"

#include <algorithm>
#include <limits>
#include <utility>

#include "window.h"

namespace ocimount {
namespace {

/// 32 KiB of literals of 15 bits each, and as much again for the heads of blocks. Where that is not
/// enough, the whole window is kept.
constexpr size_t kMaxHead = 128 * 1024;

}  // namespace

void SpanWriter::Start(SpanStart start) {
  End();
  span_ = std::move(start);
  is_open_ = true;
  head_.clear();
  if (span_.record.bits > 0) {
    const uint8_t shared = last_byte_;
    Add(&shared, 1);
  }
}

void SpanWriter::Add(const uint8_t* bytes, size_t size) {
  if (size == 0) return;
  hash_.Update(bytes, size);
  last_byte_ = bytes[size - 1];
  if (!span_.window.empty()) {
    head_.insert(head_.end(), bytes, bytes + std::min(size, kMaxHead - head_.size()));
  }
}

void SpanWriter::End() {
  if (!is_open_) return;
  is_open_ = false;
  SpanRecord& record = span_.record;
  const std::vector<uint8_t> digest = hash_.Finish();
  std::copy(digest.begin(), digest.end(), record.digest.begin());
  if (!span_.window.empty()) {
    if (!FindWindowUsage(head_.data(), head_.size(), record.bits, &used_)) used_.set();
    const std::vector<uint8_t> packed = PackWindow(span_.window.data(), used_);
    if (packed.size() > std::numeric_limits<uint32_t>::max() - windows_.size()) {
      has_overflown_ = true;
      return;
    }
    record.window_offset = static_cast<uint32_t>(windows_.size());
    record.window_length = static_cast<uint32_t>(packed.size());
    windows_.insert(windows_.end(), packed.begin(), packed.end());
  }
  const size_t end = spans_.size();
  spans_.resize(end + kSpanRecordSize);
  EncodeSpanRecord(record, spans_.data() + end);
}

}  // namespace ocimount
