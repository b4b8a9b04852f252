// Makes pieces of a device again from the spans of a gzip blob. Nothing is believed: a span's
// compressed bytes are compared with their digest before they are inflated, and each piece with its
// own before it is written or given out.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "span_record.h"

namespace ocimount {

/// What one call may ask for.
constexpr size_t kMaxFillPieces = 64;

struct FillRequest {
  int blob_fd = -1;
  uint64_t blob_offset = 0;
  uint64_t blob_length = 0;
  /// Encoded records, consecutive: the first one begins at or before the first piece, the last one
  /// ends behind the last.
  const uint8_t* spans = nullptr;
  size_t spans_size = 0;
  /// Packed window of the first of them, as long as its record says.
  const uint8_t* window = nullptr;
  size_t window_size = 0;
  /// Where the span behind them begins, with its `bits`; the blob's length and 0 where there is
  /// none.
  uint64_t compressed_end = 0;
  uint8_t bits_end = 0;
  uint64_t device_size = 0;
  uint64_t first_piece = 0;
  const uint8_t* piece_digests = nullptr;
  size_t piece_count = 0;
  /// Gets the pieces, at their addresses in the device; -1 for none.
  int data_fd = -1;
};

enum class FillStatus {
  kDone,
  /// The file ends early.
  kSourceChanged,
  /// The blob's bytes are not those of the records.
  kBadSpan,
  kBadPiece,
  kCorrupt,
  kReadError,
  kWriteError
};

struct FillOutcome {
  FillStatus status = FillStatus::kCorrupt;
  std::string message;
  int error_number = 0;
  /// The pieces one after the other, after kDone and kWriteError.
  std::vector<uint8_t> bytes;
};

/// Blocks while it reads and inflates. What cannot be a request, or records that contradict each
/// other or it, are kCorrupt.
FillOutcome FillPieces(const FillRequest& request);

}  // namespace ocimount
