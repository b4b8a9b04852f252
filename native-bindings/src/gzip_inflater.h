// The inflating thread of a pass over a gzip blob, and what leads from it to the other threads.
//
// A member's end leads to the next member or, at a zero byte, to padding that goes on to the blob's
// end; anything else there is damage, as src/compression/gunzip.ts has it. Until a span is long
// enough zlib runs freely, and from then on stops at each deflate block's boundary: the first one
// that is not in a member's last block is the next checkpoint.
//
// Where the processor can, the member's CRC is made here (crc32.h) and zlib checks no more than the
// header.
#pragma once

#include <zlib.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include "bounded_queue.h"
#include "buffer_pool.h"
#include "crc32.h"
#include "gzip_index.h"
#include "span_record.h"
#include "span_writer.h"

namespace ocimount {

/// Compressed bytes of the span that was started last; without a chunk, the start of another one.
struct SpanEvent {
  SharedBuffer chunk;
  size_t begin = 0;
  size_t end = 0;
  SpanStart start;
};

/// Pools come before the queues, whose items they get back. A queue has room for all buffers of its
/// pool, so that only the pools hold a thread up.
struct GzipPipes {
  static constexpr size_t kChunks = 16;
  static constexpr size_t kChunkSize = 256 * 1024;
  static constexpr size_t kPieces = 8;
  static constexpr size_t kSpanEvents = 32;

  BufferPool chunks{kChunks, kChunkSize};
  BufferPool pieces{kPieces, kPieceSize};
  BoundedQueue<SharedBuffer> input{kChunks};
  BoundedQueue<SharedBuffer> device_hash{kPieces};
  BoundedQueue<SharedBuffer> piece_hash{kPieces};
  BoundedQueue<SharedBuffer> sink{kPieces};
  BoundedQueue<SpanEvent> spans{kSpanEvents};

  /// No more output comes.
  void CloseOutput() {
    for (auto* queue : {&device_hash, &piece_hash, &sink}) queue->Close();
    spans.Close();
  }
  /// Wakes all that wait, for a pass that cannot go on.
  void CloseAll() {
    chunks.Close();
    pieces.Close();
    input.Close();
    CloseOutput();
  }
};

class GzipInflater {
 public:
  /// Stops soon when `is_stopped` becomes true.
  GzipInflater(const GzipIndexRequest& request, GzipPipes* pipes,
               const std::atomic<bool>& is_stopped)
      : request_(request),
        span_size_(std::max<uint64_t>(request.span_size, kWindowSize)),
        pipes_(*pipes),
        is_stopped_(is_stopped),
        makes_crc_(request.may_accelerate && CanFoldCrc32()) {}
  GzipInflater(const GzipInflater&) = delete;
  GzipInflater& operator=(const GzipInflater&) = delete;
  ~GzipInflater() {
    if (is_open_) inflateEnd(&stream_);
  }

  void Run();

  GzipIndexStatus status() const { return status_; }
  const std::string& message() const { return message_; }
  uint64_t device_size() const { return device_size_; }

 private:
  /// The CRC-32 and the size of what a member holds.
  using Trailer = std::array<uint8_t, 8>;

  bool HasInput();
  void InflateMembers();
  int InflateSome(bool stops_at_boundary);
  void StartMember();
  void EndHeader();
  const char* CheckTrailer() const;
  Trailer Last() const;
  void TakePadding();
  bool IsAtCheckpoint() const;
  uint64_t SpanOutput() const { return device_size_ - span_start_; }
  bool IsSpanLongEnough() const { return SpanOutput() >= span_size_; }
  void StartSpan(SpanKind kind, unsigned unused_bits);
  std::vector<uint8_t> CopyWindow() const;
  void PutSpanBytes();
  void PutPiece();
  void Fail(GzipIndexStatus status, const char* message);

  const GzipIndexRequest& request_;
  const uint64_t span_size_;
  GzipPipes& pipes_;
  const std::atomic<bool>& is_stopped_;
  const bool makes_crc_;

  z_stream stream_ = {};
  bool is_open_ = false;
  bool is_in_header_ = true;
  uint32_t crc_ = 0;
  uint64_t member_start_ = 0;
  /// The last bytes of the chunks before.
  Trailer last_{};

  SharedBuffer chunk_;
  /// What of the chunk was passed on with the spans.
  size_t passed_ = 0;
  SharedBuffer piece_;
  SharedBuffer previous_;
  uint64_t device_size_ = 0;
  uint64_t span_start_ = 0;
  GzipIndexStatus status_ = GzipIndexStatus::kAborted;
  std::string message_ = "aborted";
};

}  // namespace ocimount
