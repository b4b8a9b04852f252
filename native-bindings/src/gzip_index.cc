#include "gzip_index.h"

#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>
#include <exception>
#include <system_error>
#include <thread>
#include <utility>

#include "gzip_inflater.h"
#include "sha256_pair.h"

namespace ocimount {

/// The state of one run; see the picture in the header.
class GzipPass {
 public:
  explicit GzipPass(GzipIndexer* owner)
      : owner_(*owner),
        request_(owner->request_),
        inflater_(request_, &pipes_, owner->is_stopped_),
        blob_hash_(request_.blob_hash),
        hashes_pair_(request_.may_accelerate && request_.device_hash == HashKind::kSha256 &&
                     Sha256Pair::IsSupported()),
        device_hash_(request_.device_hash) {}

  GzipIndexOutcome Run() {
    {
      std::array<std::jthread, 5> threads;
      try {
        size_t next = 0;
        for (auto body : {&GzipPass::Read, &GzipPass::HashDevice, &GzipPass::HashPieces,
                          &GzipPass::WriteSpans, &GzipPass::Deliver}) {
          threads[next++] = std::jthread([this, body] { Guard(body); });
        }
      } catch (const std::system_error& error) {
        Break(error.code().value());
      }
      if (error_ == 0) Guard(&GzipPass::Inflate);
      pipes_.CloseOutput();
      // After a failure nothing is inflated, but the reader goes on to the blob's digest.
      while (pipes_.input.Take()) {
      }
    }
    return Finish();
  }

 private:
  using Body = void (GzipPass::*)();

  void Guard(Body body) noexcept {
    try {
      (this->*body)();
    } catch (const std::exception&) {
      Break(ENOMEM);
    }
  }

  void Break(int error_number) {
    int none = 0;
    error_.compare_exchange_strong(none, error_number);
    pipes_.CloseAll();
    owner_.arrival_.Close();
  }

  bool IsAborted() const { return owner_.is_aborted_; }

  void Read() {
    uint64_t done = 0;
    while (done < request_.length && !IsAborted()) {
      SharedBuffer chunk = pipes_.chunks.Take();
      if (chunk == nullptr) return;
      chunk->size = static_cast<size_t>(
          std::min<uint64_t>(GzipPipes::kChunkSize, request_.length - done));
      chunk->offset = done;
      if (!owner_.arrival_.Await(done + chunk->size)) break;
      const ssize_t count = pread(request_.fd, chunk->bytes.get(), chunk->size,
                                  static_cast<off_t>(request_.offset + done));
      if (count < 0 && errno == EINTR) continue;
      if (count <= 0) {
        error_ = count < 0 ? errno : ENODATA;
        break;
      }
      chunk->size = static_cast<size_t>(count);
      done += chunk->size;
      owner_.progress_ = done;
      // Inflating goes on with it meanwhile.
      pipes_.input.Put(chunk);
      blob_hash_.Update(chunk->bytes.get(), chunk->size);
    }
    pipes_.input.Close();
  }

  void Inflate() { inflater_.Run(); }

  void HashDevice() {
    while (auto piece = pipes_.device_hash.Take()) {
      const Buffer& output = **piece;
      if (hashes_pair_) {
        KeepPieceDigest(pair_hash_.AddPiece(output.bytes.get(), output.size));
      } else {
        device_hash_.Update(output.bytes.get(), output.size);
      }
    }
  }

  /// Where the thread that hashes the device does not do it in passing.
  void HashPieces() {
    ShaDigest hash(HashKind::kSha256);
    while (auto piece = pipes_.piece_hash.Take()) {
      if (hashes_pair_) continue;
      hash.Update((*piece)->bytes.get(), (*piece)->size);
      KeepPieceDigest(hash.Finish());
    }
  }

  void KeepPieceDigest(const std::vector<uint8_t>& digest) {
    piece_digests_.insert(piece_digests_.end(), digest.begin(), digest.end());
  }

  void WriteSpans() {
    while (auto event = pipes_.spans.Take()) {
      if (event->chunk == nullptr) {
        spans_.Start(std::move(event->start));
      } else {
        spans_.Add(event->chunk->bytes.get() + event->begin, event->end - event->begin);
      }
    }
    spans_.Finish();
  }

  void Deliver() {
    while (auto piece = pipes_.sink.Take()) {
      if (owner_.is_stopped_) continue;
      const Buffer& output = **piece;
      if (!owner_.sink_->OnOutput(output.bytes.get(), output.size, output.offset)) {
        owner_.SkipOutput();
      }
    }
  }

  GzipIndexOutcome Finish() {
    GzipIndexOutcome outcome;
    outcome.device_size = inflater_.device_size();
    if (IsAborted()) {
      outcome.message = "aborted";
      return outcome;
    }
    if (error_ != 0) {
      outcome.status = GzipIndexStatus::kIoError;
      outcome.error_number = error_;
      outcome.message = std::generic_category().message(error_);
      return outcome;
    }
    outcome.status = inflater_.status();
    outcome.message = inflater_.message();
    if (outcome.status == GzipIndexStatus::kIoError) {
      outcome.error_number = ENOMEM;
      return outcome;
    }
    outcome.blob_digest = blob_hash_.Finish();
    if (outcome.status != GzipIndexStatus::kDone) return outcome;
    if (spans_.has_overflown()) {
      outcome.status = GzipIndexStatus::kTooLarge;
      outcome.message = "its index would be larger than 4 GiB";
    } else if (owner_.is_stopped_) {
      outcome.status = GzipIndexStatus::kAborted;
      outcome.message = "stopped";
    } else {
      outcome.device_digest = hashes_pair_ ? pair_hash_.Finish() : device_hash_.Finish();
      outcome.spans = spans_.TakeSpans();
      outcome.windows = spans_.TakeWindows();
      outcome.piece_digests = std::move(piece_digests_);
    }
    return outcome;
  }

  GzipIndexer& owner_;
  const GzipIndexRequest& request_;
  GzipPipes pipes_;
  /// Of the reader, or why a thread gave up.
  std::atomic<int> error_{0};

  // Each belongs to one thread until all have ended.
  GzipInflater inflater_;
  ShaDigest blob_hash_;
  /// Whether the device and its pieces are hashed by one thread with `pair_hash_`.
  const bool hashes_pair_;
  Sha256Pair pair_hash_;
  ShaDigest device_hash_;
  std::vector<uint8_t> piece_digests_;
  SpanWriter spans_;
};

GzipIndexOutcome GzipIndexer::Run() { return GzipPass(this).Run(); }

}  // namespace ocimount
