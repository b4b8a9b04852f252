#include "gzip_fill.h"

#include <unistd.h>
#include <zlib.h>

#include <algorithm>
#include <cerrno>
#include <cstring>

#include "sha_digest.h"
#include "window.h"

namespace ocimount {
namespace {

constexpr int kRawDeflate = -15;
constexpr int kGzipWrapper = 15 + 16;
constexpr size_t kTrailerSize = 8;
/// What one call may ask for; the compressed bytes are held in memory together.
constexpr size_t kMaxPieces = 64;
constexpr uint64_t kMaxCompressed = 256 * 1024 * 1024;
constexpr size_t kDiscard = 64 * 1024;

FillOutcome Failed(FillStatus status, std::string message, int error_number = 0) {
  return {status, std::move(message), error_number, {}};
}

/// Inflates on from a checkpoint, through the ends of members.
class SpanInflater {
 public:
  SpanInflater() = default;
  SpanInflater(const SpanInflater&) = delete;
  SpanInflater& operator=(const SpanInflater&) = delete;
  ~SpanInflater() {
    if (is_open_) inflateEnd(&stream_);
  }

  bool Open(const SpanRecord& span, const std::vector<uint8_t>& compressed, const uint8_t* window) {
    is_raw_ = span.kind == SpanKind::kDeflate;
    if (inflateInit2(&stream_, is_raw_ ? kRawDeflate : kGzipWrapper) != Z_OK) return false;
    is_open_ = true;
    stream_.next_in = const_cast<uint8_t*>(compressed.data());
    stream_.avail_in = static_cast<uInt>(compressed.size());
    if (!is_raw_) return true;
    if (span.bits > 0) {
      if (stream_.avail_in == 0) return false;
      const int rest = *stream_.next_in >> span.bits;
      ++stream_.next_in;
      --stream_.avail_in;
      if (inflatePrime(&stream_, 8 - span.bits, rest) != Z_OK) return false;
    }
    return inflateSetDictionary(&stream_, window, kWindowSize) == Z_OK;
  }

  /// Gives exactly `size` bytes, or false.
  bool Take(uint8_t* target, size_t size) {
    while (size > 0) {
      stream_.next_out = target;
      stream_.avail_out = static_cast<uInt>(size);
      const int result = inflate(&stream_, Z_NO_FLUSH);
      const size_t made = size - stream_.avail_out;
      target += made;
      size -= made;
      if (result == Z_STREAM_END) {
        if (size > 0 && !NextMember()) return false;
      } else if (result != Z_OK) {
        return false;
      }
    }
    return true;
  }

  bool Skip(uint64_t size) {
    std::vector<uint8_t> discarded(std::min<uint64_t>(size, kDiscard));
    while (size > 0) {
      const size_t count = static_cast<size_t>(std::min<uint64_t>(size, discarded.size()));
      if (!Take(discarded.data(), count)) return false;
      size -= count;
    }
    return true;
  }

 private:
  bool NextMember() {
    if (is_raw_) {
      // Raw inflate leaves the member's CRC and length; what is made is compared with better digests.
      if (stream_.avail_in < kTrailerSize) return false;
      stream_.next_in += kTrailerSize;
      stream_.avail_in -= kTrailerSize;
      is_raw_ = false;
    }
    return stream_.avail_in > 0 && inflateReset2(&stream_, kGzipWrapper) == Z_OK;
  }

  z_stream stream_ = {};
  bool is_open_ = false;
  bool is_raw_ = false;
};

/// Reads a stretch of the blob; the result's status is kDone where it is whole.
FillOutcome ReadBlob(const FillRequest& request, uint64_t offset, uint64_t length) {
  FillOutcome outcome = {FillStatus::kDone, "", 0, std::vector<uint8_t>(length)};
  for (size_t done = 0; done < length;) {
    const ssize_t count = pread(request.blob_fd, outcome.bytes.data() + done, length - done,
                                static_cast<off_t>(request.blob_offset + offset + done));
    if (count < 0 && errno == EINTR) continue;
    if (count < 0) return Failed(FillStatus::kReadError, strerror(errno), errno);
    if (count == 0) return Failed(FillStatus::kSourceChanged, "the file ends early");
    done += static_cast<size_t>(count);
  }
  return outcome;
}

bool IsDigestOf(ShaDigest* hash, const uint8_t* bytes, size_t size, const uint8_t* expected) {
  hash->Update(bytes, size);
  const std::vector<uint8_t> digest = hash->Finish();
  return digest.size() == kDigestSize && memcmp(digest.data(), expected, kDigestSize) == 0;
}

/// Decodes the records and checks that they can be what the request says.
bool DecodeSpans(const FillRequest& request, std::vector<SpanRecord>* spans) {
  if (request.spans_size == 0 || request.spans_size % kSpanRecordSize != 0) return false;
  if (request.piece_count == 0 || request.piece_count > kMaxPieces) return false;
  if (request.first_piece > request.device_size / kPieceSize) return false;
  if (request.compressed_end > request.blob_length || request.bits_end > 7) return false;
  spans->resize(request.spans_size / kSpanRecordSize);
  for (size_t index = 0; index < spans->size(); ++index) {
    SpanRecord& span = (*spans)[index];
    if (!DecodeSpanRecord(request.spans + index * kSpanRecordSize, &span)) return false;
    if (span.compressed_offset >= request.compressed_end) return false;
    if (index == 0) continue;
    const SpanRecord& before = (*spans)[index - 1];
    if (span.compressed_offset < before.compressed_offset) return false;
    if (span.device_offset < before.device_offset) return false;
  }
  return spans->front().device_offset <= request.first_piece * kPieceSize &&
         request.compressed_end - spans->front().compressed_offset <= kMaxCompressed;
}

bool AreSpansRight(const FillRequest& request, const std::vector<SpanRecord>& spans,
                   const std::vector<uint8_t>& compressed) {
  ShaDigest hash(HashKind::kSha256);
  const uint64_t base = spans.front().compressed_offset;
  for (size_t index = 0; index < spans.size(); ++index) {
    const bool is_last = index + 1 == spans.size();
    const uint64_t next = is_last ? request.compressed_end : spans[index + 1].compressed_offset;
    const uint8_t next_bits = is_last ? request.bits_end : spans[index + 1].bits;
    const uint64_t start = spans[index].compressed_offset - base;
    const uint64_t end = std::min<uint64_t>(next - base + (next_bits > 0 ? 1 : 0), compressed.size());
    if (end < start) return false;
    if (!IsDigestOf(&hash, compressed.data() + start, end - start, spans[index].digest.data())) return false;
  }
  return true;
}

FillOutcome Write(const FillRequest& request, FillOutcome outcome) {
  const uint64_t offset = request.first_piece * kPieceSize;
  for (size_t done = 0; done < outcome.bytes.size();) {
    const ssize_t count = pwrite(request.data_fd, outcome.bytes.data() + done, outcome.bytes.size() - done,
                                 static_cast<off_t>(offset + done));
    if (count < 0 && errno == EINTR) continue;
    if (count < 0) {
      outcome.status = FillStatus::kWriteError;
      outcome.error_number = errno;
      outcome.message = strerror(errno);
      return outcome;
    }
    done += static_cast<size_t>(count);
  }
  return outcome;
}

}  // namespace

FillOutcome FillPieces(const FillRequest& request) {
  std::vector<SpanRecord> spans;
  if (!DecodeSpans(request, &spans)) return Failed(FillStatus::kCorrupt, "the span table is damaged");
  const SpanRecord& first = spans.front();
  std::vector<uint8_t> window(kWindowSize);
  if (request.window_size > 0 && !UnpackWindow(request.window, request.window_size, window.data())) {
    return Failed(FillStatus::kCorrupt, "a window of the span table is damaged");
  }

  // The last span shares a byte with the one behind it.
  const uint64_t compressed_end =
      std::min(request.compressed_end + (request.bits_end > 0 ? 1 : 0), request.blob_length);
  FillOutcome blob = ReadBlob(request, first.compressed_offset, compressed_end - first.compressed_offset);
  if (blob.status != FillStatus::kDone) return blob;
  if (!AreSpansRight(request, spans, blob.bytes)) {
    return Failed(FillStatus::kBadSpan, "the compressed bytes do not match their digest");
  }

  const uint64_t start = request.first_piece * kPieceSize;
  const uint64_t end = std::min(start + request.piece_count * kPieceSize, request.device_size);
  FillOutcome outcome = {FillStatus::kDone, "", 0, std::vector<uint8_t>(end - start)};
  SpanInflater inflater;
  if (!inflater.Open(first, blob.bytes, window.data()) || !inflater.Skip(start - first.device_offset) ||
      !inflater.Take(outcome.bytes.data(), outcome.bytes.size())) {
    return Failed(FillStatus::kCorrupt, "the spans do not inflate");
  }
  ShaDigest hash(HashKind::kSha256);
  for (size_t piece = 0; piece * kPieceSize < outcome.bytes.size(); ++piece) {
    const size_t offset = piece * kPieceSize;
    const size_t length = std::min<size_t>(kPieceSize, outcome.bytes.size() - offset);
    if (!IsDigestOf(&hash, outcome.bytes.data() + offset, length, request.piece_digests + piece * kDigestSize)) {
      return Failed(FillStatus::kBadPiece, "the inflated bytes do not match their digest");
    }
  }
  return request.data_fd < 0 ? std::move(outcome) : Write(request, std::move(outcome));
}

}  // namespace ocimount
