#include "gzip_fill.h"

#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <exception>
#include <limits>
#include <system_error>
#include <utility>

#include "sha_digest.h"
#include "span_inflater.h"
#include "span_source.h"
#include "window.h"

namespace ocimount {
namespace {

constexpr uint64_t kMaxOffset = std::numeric_limits<int64_t>::max();

FillOutcome Failed(FillStatus status, const char* message) { return {status, message, 0, {}}; }

FillOutcome FailedCall(FillStatus status, int error_number) {
  return {status, std::generic_category().message(error_number), error_number, {}};
}

/// The wanted bytes of the device.
struct Range {
  uint64_t start = 0;
  uint64_t size = 0;
};

/// Gives false where the device does not have the wanted pieces.
bool FindRange(const FillRequest& request, Range* range) {
  const uint64_t count = request.piece_count;
  if (count == 0 || count > kMaxFillPieces || request.device_size > kMaxOffset) return false;
  if (request.first_piece > request.device_size / kPieceSize) return false;
  range->start = request.first_piece * kPieceSize;
  range->size = std::min(count * kPieceSize, request.device_size - range->start);
  return range->size > (count - 1) * kPieceSize;
}

/// Decodes the records and checks that they can be what the request says.
bool DecodeSpans(const FillRequest& request, const Range& range, std::vector<SpanRecord>* spans) {
  if (request.spans_size == 0 || request.spans_size % kSpanRecordSize != 0) return false;
  if (request.blob_offset > kMaxOffset || request.blob_length > kMaxOffset - request.blob_offset) {
    return false;
  }
  if (request.compressed_end > request.blob_length || request.bits_end > 7) return false;
  spans->resize(request.spans_size / kSpanRecordSize);
  uint64_t compressed_least = 0;
  uint64_t device_least = 0;
  for (size_t index = 0; index < spans->size(); ++index) {
    SpanRecord& span = (*spans)[index];
    if (!DecodeSpanRecord(request.spans + index * kSpanRecordSize, &span)) return false;
    if (span.device_offset < device_least || span.compressed_offset < compressed_least ||
        span.compressed_offset >= request.compressed_end) {
      return false;
    }
    // Equal ones would make a long table of one byte's digests.
    compressed_least = span.compressed_offset + 1;
    device_least = span.device_offset + 1;
  }
  return spans->front().device_offset <= range.start &&
         spans->front().window_length == request.window_size;
}

FillOutcome ToFailure(SpanSource::Status status, int error_number) {
  if (status == SpanSource::Status::kReadError) {
    return FailedCall(FillStatus::kReadError, error_number);
  }
  if (status == SpanSource::Status::kEndsEarly) {
    return Failed(FillStatus::kSourceChanged, "the file ends early");
  }
  return Failed(FillStatus::kBadSpan, "the compressed bytes do not match their digest");
}

bool ArePiecesRight(const FillRequest& request, const std::vector<uint8_t>& bytes) {
  ShaDigest hash(HashKind::kSha256);
  for (size_t piece = 0; piece < request.piece_count; ++piece) {
    const size_t offset = piece * kPieceSize;
    hash.Update(bytes.data() + offset, std::min<size_t>(kPieceSize, bytes.size() - offset));
    const std::vector<uint8_t> digest = hash.Finish();
    const uint8_t* const expected = request.piece_digests + piece * kDigestSize;
    if (!std::equal(digest.begin(), digest.end(), expected, expected + kDigestSize)) return false;
  }
  return true;
}

/// Gives an errno, 0 for none.
int Write(int fd, const std::vector<uint8_t>& bytes, uint64_t offset) {
  for (size_t done = 0; done < bytes.size();) {
    const ssize_t count =
        pwrite(fd, bytes.data() + done, bytes.size() - done, static_cast<off_t>(offset + done));
    if (count < 0 && errno == EINTR) continue;
    if (count <= 0) return count < 0 ? errno : EIO;
    done += static_cast<size_t>(count);
  }
  return 0;
}

FillOutcome Fill(const FillRequest& request) {
  Range range;
  std::vector<SpanRecord> spans;
  if (!FindRange(request, &range) || !DecodeSpans(request, range, &spans)) {
    return Failed(FillStatus::kCorrupt, "the span table is damaged");
  }
  const SpanRecord& first = spans.front();
  std::vector<uint8_t> window(kWindowSize);
  if (request.window_size > 0 &&
      !UnpackWindow(request.window, request.window_size, window.data())) {
    return Failed(FillStatus::kCorrupt, "a window of the span table is damaged");
  }

  // The last span shares a byte with the one behind it.
  const uint64_t end =
      std::min(request.compressed_end + (request.bits_end > 0 ? 1 : 0), request.blob_length);
  SpanSource source(request.blob_fd, request.blob_offset, first.compressed_offset, end);
  const SpanSource::Status status = source.Check(spans);
  if (status != SpanSource::Status::kRight) return ToFailure(status, source.error_number());

  FillOutcome outcome = {FillStatus::kDone, "", 0, std::vector<uint8_t>(range.size)};
  SpanInflater inflater(&source);
  if (!inflater.Open(first, window.data()) || !inflater.Skip(range.start - first.device_offset) ||
      !inflater.Take(outcome.bytes.data(), outcome.bytes.size())) {
    return Failed(FillStatus::kCorrupt, "the spans do not inflate");
  }
  if (!ArePiecesRight(request, outcome.bytes)) {
    return Failed(FillStatus::kBadPiece, "the inflated bytes do not match their digest");
  }
  const int written =
      request.data_fd < 0 ? 0 : Write(request.data_fd, outcome.bytes, range.start);
  if (written != 0) {
    outcome.status = FillStatus::kWriteError;
    outcome.error_number = written;
    outcome.message = std::generic_category().message(written);
  }
  return outcome;
}

}  // namespace

FillOutcome FillPieces(const FillRequest& request) {
  try {
    return Fill(request);
  } catch (const std::exception&) {
    return FailedCall(FillStatus::kReadError, ENOMEM);
  }
}

}  // namespace ocimount
