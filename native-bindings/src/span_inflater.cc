#include "span_inflater.h"

#include <algorithm>
#include <limits>
#include <vector>

namespace ocimount {
namespace {

constexpr int kRawDeflate = -15;
constexpr int kGzipWrapper = 15 + 16;
constexpr size_t kTrailerSize = 8;
constexpr size_t kDiscarded = 64 * 1024;

}  // namespace

bool SpanInflater::Open(const SpanRecord& span, const uint8_t* window) {
  is_raw_ = span.kind == SpanKind::kDeflate;
  if (inflateInit2(&stream_, is_raw_ ? kRawDeflate : kGzipWrapper) != Z_OK) return false;
  is_open_ = true;
  if (!is_raw_) return true;
  if (span.bits > 0) {
    if (!HasInput()) return false;
    const int rest = *stream_.next_in >> span.bits;
    if (!PassBytes(1) || inflatePrime(&stream_, 8 - span.bits, rest) != Z_OK) return false;
  }
  return inflateSetDictionary(&stream_, window, kWindowSize) == Z_OK;
}

bool SpanInflater::Take(uint8_t* target, size_t size) {
  while (size > 0) {
    const size_t room = std::min<size_t>(size, std::numeric_limits<uInt>::max());
    stream_.next_out = target;
    stream_.avail_out = static_cast<uInt>(room);
    // What the last input has left in zlib's hands may make output without more.
    const bool has_input = HasInput();
    const int result = inflate(&stream_, Z_NO_FLUSH);
    const size_t made = room - stream_.avail_out;
    target += made;
    size -= made;
    if (result == Z_STREAM_END) {
      if (size > 0 && !BeginNextMember()) return false;
    } else if (result != Z_OK || (!has_input && made == 0)) {
      return false;
    }
  }
  return true;
}

bool SpanInflater::Skip(uint64_t size) {
  std::vector<uint8_t> discarded(static_cast<size_t>(std::min<uint64_t>(size, kDiscarded)));
  while (size > 0) {
    const size_t count = static_cast<size_t>(std::min<uint64_t>(size, discarded.size()));
    if (!Take(discarded.data(), count)) return false;
    size -= count;
  }
  return true;
}

bool SpanInflater::HasInput() {
  if (stream_.avail_in > 0) return true;
  size_t size = 0;
  stream_.next_in = const_cast<uint8_t*>(source_.Next(&size));
  stream_.avail_in = static_cast<uInt>(size);
  return size > 0;
}

bool SpanInflater::PassBytes(size_t count) {
  for (; count > 0; --count) {
    if (!HasInput()) return false;
    ++stream_.next_in;
    --stream_.avail_in;
  }
  return true;
}

bool SpanInflater::BeginNextMember() {
  // Raw inflate leaves the member's CRC and length; what is made is compared with better digests.
  if (is_raw_ && !PassBytes(kTrailerSize)) return false;
  is_raw_ = false;
  return HasInput() && inflateReset2(&stream_, kGzipWrapper) == Z_OK;
}

}  // namespace ocimount
