// One pass over a gzip blob: inflates it, hashes both sides, and records a checkpoint about every
// span size of output.
//
//   pread + blob hash ──chunks──▶ inflate ──1 MiB pieces──▶ device hash │ piece hash │ sink
//                                    └──chunks by span──▶ span digest, window
//
// Each arrow is a bounded queue between two threads and the buffers come from two pools, so memory
// does not grow with the blob. Inflating is the longest of them; on two processors the others fit
// beside it. Where the processor can, both hashes of the output are made at once (sha256_pair.h). The blob may still be coming in: pread waits for what is not there yet.
#pragma once

#include <atomic>
#include <cstdint>
#include <string>
#include <vector>

#include "arrival.h"
#include "sha_digest.h"
#include "span_record.h"

namespace ocimount {

/// Takes the uncompressed stream, in order, on a thread of the indexer. May block.
class OutputSink {
 public:
  virtual ~OutputSink() = default;
  /// Gives false when it wants no more; the rest of the blob is then only hashed.
  virtual bool OnOutput(const uint8_t* bytes, size_t size, uint64_t device_offset) = 0;
};

struct GzipIndexRequest {
  int fd = -1;
  uint64_t offset = 0;
  uint64_t length = 0;
  /// Bytes of the blob that can be read already; what Advance does not tell of is waited for.
  uint64_t available = UINT64_MAX;
  HashKind blob_hash = HashKind::kSha256;
  HashKind device_hash = HashKind::kSha256;
  /// Least bytes of output between two checkpoints; at least kWindowSize.
  uint64_t span_size = kPieceSize;
  uint64_t max_output = 0;
  /// Whether crc32.h and sha256_pair.h may be used where the processor can; tests say no.
  bool may_accelerate = true;
};

enum class GzipIndexStatus { kDone, kCorrupt, kTruncated, kTooLarge, kAborted, kIoError };

struct GzipIndexOutcome {
  GzipIndexStatus status = GzipIndexStatus::kAborted;
  std::string message;
  int error_number = 0;
  /// Of the whole blob, whatever was wrong with it; empty after Abort and kIoError.
  std::vector<uint8_t> blob_digest;
  std::vector<uint8_t> device_digest;
  uint64_t device_size = 0;
  std::vector<uint8_t> spans;
  std::vector<uint8_t> windows;
  std::vector<uint8_t> piece_digests;
};

class GzipIndexer {
 public:
  GzipIndexer(const GzipIndexRequest& request, OutputSink* sink)
      : request_(request), sink_(sink), arrival_(request.available) {}

  /// Runs the pass to its end, once.
  GzipIndexOutcome Run();

  /// From any thread: ends the pass soon.
  void Abort() {
    is_aborted_ = true;
    is_stopped_ = true;
    arrival_.Close();
  }
  /// From any thread: so many bytes of the blob can be read by now.
  void Advance(uint64_t available) { arrival_.Advance(available); }
  /// From any thread: no more output is wanted, the rest of the blob is only hashed. The status is
  /// kAborted then, unless something was wrong before, and there is a blob digest.
  void SkipOutput() { is_stopped_ = true; }
  /// Compressed bytes read so far.
  uint64_t progress() const { return progress_; }

 private:
  friend class GzipPass;

  const GzipIndexRequest request_;
  OutputSink* const sink_;
  Arrival arrival_;
  std::atomic<bool> is_aborted_{false};
  /// No more output is wanted.
  std::atomic<bool> is_stopped_{false};
  std::atomic<uint64_t> progress_{0};
};

}  // namespace ocimount
