#include "span_source.h"

#include <unistd.h>

#include <algorithm>
#include <cerrno>

#include "sha_digest.h"

namespace ocimount {
namespace {

constexpr size_t kChunk = 1024 * 1024;
constexpr uint64_t kMaxHeld = 32 * 1024 * 1024;

}  // namespace

SpanSource::Status SpanSource::Check(const std::vector<SpanRecord>& spans) {
  is_held_ = end_ - begin_ <= kMaxHeld;
  bytes_.resize(is_held_ ? static_cast<size_t>(end_ - begin_) : kChunk);
  if (is_held_ && !Read(begin_, bytes_.size(), bytes_.data())) return status_;
  ShaDigest hash(HashKind::kSha256);
  for (size_t index = 0; index < spans.size(); ++index) {
    uint64_t end = end_;
    if (index + 1 < spans.size()) {
      const SpanRecord& next = spans[index + 1];
      end = std::min(end_, next.compressed_offset + (next.bits > 0 ? 1 : 0));
    }
    for (uint64_t at = spans[index].compressed_offset; at < end;) {
      const size_t size = static_cast<size_t>(std::min<uint64_t>(kChunk, end - at));
      const uint8_t* bytes = At(at, size);
      if (bytes == nullptr) return status_;
      hash.Update(bytes, size);
      at += size;
    }
    const std::vector<uint8_t> digest = hash.Finish();
    const auto& expected = spans[index].digest;
    if (!std::equal(digest.begin(), digest.end(), expected.begin(), expected.end())) {
      return Status::kWrongDigest;
    }
  }
  return Status::kRight;
}

const uint8_t* SpanSource::Next(size_t* size) {
  *size = static_cast<size_t>(std::min<uint64_t>(kChunk, end_ - at_));
  const uint8_t* bytes = *size == 0 ? nullptr : At(at_, *size);
  if (bytes == nullptr) *size = 0;
  at_ += *size;
  return bytes;
}

const uint8_t* SpanSource::At(uint64_t offset, size_t size) {
  if (is_held_) return bytes_.data() + (offset - begin_);
  return Read(offset, size, bytes_.data()) ? bytes_.data() : nullptr;
}

bool SpanSource::Read(uint64_t offset, size_t size, uint8_t* target) {
  for (size_t done = 0; done < size;) {
    const ssize_t count =
        pread(fd_, target + done, size - done, static_cast<off_t>(blob_offset_ + offset + done));
    if (count < 0 && errno == EINTR) continue;
    if (count <= 0) {
      status_ = count < 0 ? Status::kReadError : Status::kEndsEarly;
      error_number_ = count < 0 ? errno : 0;
      return false;
    }
    done += static_cast<size_t>(count);
  }
  return true;
}

}  // namespace ocimount
