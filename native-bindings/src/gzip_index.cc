#include "gzip_index.h"

#include <unistd.h>
#include <zlib.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <memory>
#include <thread>

#include "bounded_queue.h"
#include "window.h"

namespace ocimount {
namespace {

constexpr size_t kInputChunk = 256 * 1024;
constexpr size_t kQueueLength = 6;
constexpr int kGzipWrapper = 15 + 16;
/// zlib's data_type after Z_BLOCK: unused bits of the last byte, the last block is under way, at a block's boundary.
constexpr int kUnusedBits = 7;
constexpr int kInLastBlock = 64;
constexpr int kAtBoundary = 128;
/// A span's compressed bytes are kept until it ends. Output bounds them except for empty blocks and members, where a
/// checkpoint comes early, and for a member's header, whose name no honest program makes this long.
constexpr size_t kEarlyCheckpoint = 4 * 1024 * 1024;
constexpr size_t kMaxSpanBytes = 64 * 1024 * 1024;

using Chunk = std::vector<uint8_t>;

struct Piece {
  uint64_t device_offset = 0;
  size_t length = 0;
  std::unique_ptr<uint8_t[]> bytes = std::make_unique_for_overwrite<uint8_t[]>(kPieceSize);
};
using SharedPiece = std::shared_ptr<Piece>;

/// A span whose end is known.
struct FinishedSpan {
  SpanRecord record;
  /// The output before the span; empty where it needs none.
  std::vector<uint8_t> window;
  Chunk compressed;
  uint64_t output = 0;
};

}  // namespace

/// The state of one run; see the picture in the header.
class GzipPass {
 public:
  explicit GzipPass(GzipIndexer* owner)
      : owner_(*owner), request_(owner->request_), device_hash_(request_.device_hash) {}

  GzipIndexOutcome Run() {
    std::thread reader([this] { Read(); });
    std::thread device_hasher([this] {
      while (auto piece = to_device_hash_.Take()) device_hash_.Update((*piece)->bytes.get(), (*piece)->length);
    });
    std::thread piece_hasher([this] { HashPieces(); });
    std::thread span_packer([this] { PackSpans(); });
    std::thread deliverer([this] { Deliver(); });
    Inflate();
    for (auto* queue : {&to_device_hash_, &to_piece_hash_, &to_sink_}) queue->Close();
    to_packer_.Close();
    // After a failure nothing is inflated, but the reader goes on to the blob's digest.
    while (input_.Take()) {
    }
    for (auto* thread : {&reader, &device_hasher, &piece_hasher, &span_packer, &deliverer}) thread->join();
    return Finish();
  }

 private:
  bool IsAborted() const { return owner_.is_aborted_; }

  void Read() {
    ShaDigest hash(request_.blob_hash);
    uint64_t done = 0;
    while (done < request_.length && !IsAborted()) {
      Chunk chunk(static_cast<size_t>(std::min<uint64_t>(kInputChunk, request_.length - done)));
      const ssize_t count =
          pread(request_.fd, chunk.data(), chunk.size(), static_cast<off_t>(request_.offset + done));
      if (count < 0 && errno == EINTR) continue;
      if (count <= 0) {
        read_error_ = count < 0 ? errno : ENODATA;
        break;
      }
      chunk.resize(static_cast<size_t>(count));
      hash.Update(chunk.data(), chunk.size());
      done += chunk.size();
      owner_.progress_ = done;
      input_.Put(std::move(chunk));
    }
    if (done == request_.length) outcome_.blob_digest = hash.Finish();
    input_.Close();
  }

  void HashPieces() {
    ShaDigest hash(HashKind::kSha256);
    while (auto piece = to_piece_hash_.Take()) {
      hash.Update((*piece)->bytes.get(), (*piece)->length);
      const std::vector<uint8_t> digest = hash.Finish();
      outcome_.piece_digests.insert(outcome_.piece_digests.end(), digest.begin(), digest.end());
    }
  }

  void Deliver() {
    while (auto piece = to_sink_.Take()) {
      if (owner_.is_skipping_ || IsAborted()) continue;
      const Piece& output = **piece;
      if (!owner_.sink_->OnOutput(output.bytes.get(), output.length, output.device_offset)) {
        owner_.SkipOutput();
      }
    }
  }

  void PackSpans() {
    const auto used = std::make_unique<WindowUsage>();
    ShaDigest hash(HashKind::kSha256);
    while (auto span = to_packer_.Take()) {
      hash.Update(span->compressed.data(), span->compressed.size());
      const std::vector<uint8_t> digest = hash.Finish();
      std::copy(digest.begin(), digest.end(), span->record.digest.begin());
      if (!span->window.empty()) {
        const bool is_known = FindWindowUsage(span->compressed.data(), span->compressed.size(),
                                              span->record.bits, used.get());
        // Where the span is shorter than a window, the next one refers back behind it too.
        if (!is_known || span->output < kWindowSize) used->set();
        const std::vector<uint8_t> packed = PackWindow(span->window.data(), *used);
        span->record.window_offset = static_cast<uint32_t>(outcome_.windows.size());
        span->record.window_length = static_cast<uint32_t>(packed.size());
        outcome_.windows.insert(outcome_.windows.end(), packed.begin(), packed.end());
      }
      const size_t end = outcome_.spans.size();
      outcome_.spans.resize(end + kSpanRecordSize);
      EncodeSpanRecord(span->record, outcome_.spans.data() + end);
    }
  }

  void Inflate() {
    if (inflateInit2(&stream_, kGzipWrapper) != Z_OK) {
      Fail(GzipIndexStatus::kCorrupt, "zlib has no memory");
      return;
    }
    InflateMembers();
    inflateEnd(&stream_);
    if (outcome_.status == GzipIndexStatus::kDone) {
      EndSpan();
      PutPiece();
    }
  }

  /// Every byte of the blob is a part of a member, or zero padding after the last one.
  void InflateMembers() {
    outcome_.status = GzipIndexStatus::kDone;
    BeginSpan(SpanKind::kMember, 0, 0);
    bool is_member_done = false;
    while (HasInput()) {
      if (IsAborted() || owner_.is_skipping_) return Fail(GzipIndexStatus::kAborted, "stopped");
      if (is_member_done) {
        if (*stream_.next_in == 0) return TakePadding();
        inflateReset(&stream_);
        if (IsSpanLongEnough()) StartSpan(SpanKind::kMember, 0);
        is_member_done = false;
      }
      const int result = InflateSome();
      if (result == Z_STREAM_END) {
        is_member_done = true;
      } else if (result != Z_OK && result != Z_BUF_ERROR) {
        const char* why = stream_.msg != nullptr ? stream_.msg : "not a gzip stream";
        return Fail(GzipIndexStatus::kCorrupt, why);
      } else if (IsAtCheckpoint() && IsSpanLongEnough()) {
        StartSpan(SpanKind::kDeflate, stream_.data_type & kUnusedBits);
      }
      if (device_size_ > request_.max_output) return Fail(GzipIndexStatus::kTooLarge, "too large");
      if (span_.compressed.size() > kMaxSpanBytes) return Fail(GzipIndexStatus::kCorrupt, "a header has no end");
    }
    if (read_error_ != 0) return Fail(GzipIndexStatus::kIoError, strerror(read_error_));
    if (!is_member_done) Fail(GzipIndexStatus::kTruncated, "the gzip stream ends early");
  }

  bool IsAtCheckpoint() const {
    return (stream_.data_type & kAtBoundary) != 0 && (stream_.data_type & kInLastBlock) == 0;
  }
  bool IsSpanLongEnough() const {
    return device_size_ - span_.record.device_offset >= request_.span_size ||
           span_.compressed.size() >= kEarlyCheckpoint;
  }

  /// Inflates up to a block's boundary, the end of the input in hand or of the piece.
  int InflateSome() {
    if (piece_ == nullptr) piece_ = NewPiece();
    stream_.next_out = piece_->bytes.get() + piece_->length;
    stream_.avail_out = static_cast<uInt>(kPieceSize - piece_->length);
    const uint8_t* const input = stream_.next_in;
    const uInt room = stream_.avail_out;
    const int result = inflate(&stream_, Z_BLOCK);
    const size_t made = room - stream_.avail_out;
    const size_t taken = static_cast<size_t>(stream_.next_in - input);
    piece_->length += made;
    device_size_ += made;
    compressed_ += taken;
    span_.compressed.insert(span_.compressed.end(), input, input + taken);
    if (piece_->length == kPieceSize) PutPiece();
    return result;
  }

  /// Makes sure that there is input; gives false at the blob's end.
  bool HasInput() {
    while (stream_.avail_in == 0) {
      auto chunk = input_.Take();
      if (!chunk) return false;
      chunk_ = std::move(*chunk);
      stream_.next_in = chunk_.data();
      stream_.avail_in = static_cast<uInt>(chunk_.size());
    }
    return true;
  }

  void TakePadding() {
    while (HasInput()) {
      const uint8_t* const end = stream_.next_in + stream_.avail_in;
      if (std::any_of(static_cast<const uint8_t*>(stream_.next_in), end, [](uint8_t byte) { return byte != 0; })) {
        return Fail(GzipIndexStatus::kCorrupt, "something else follows the last gzip member");
      }
      if (span_.compressed.size() + stream_.avail_in > kMaxSpanBytes) {
        return Fail(GzipIndexStatus::kCorrupt, "the padding has no end");
      }
      span_.compressed.insert(span_.compressed.end(), static_cast<const uint8_t*>(stream_.next_in), end);
      stream_.avail_in = 0;
    }
    if (read_error_ != 0) Fail(GzipIndexStatus::kIoError, strerror(read_error_));
  }

  void StartSpan(SpanKind kind, int unused_bits) {
    // The byte that two spans share belongs to both.
    const uint8_t shared = span_.compressed.empty() ? 0 : span_.compressed.back();
    EndSpan();
    BeginSpan(kind, compressed_, unused_bits);
    if (unused_bits > 0) span_.compressed.push_back(shared);
  }

  void BeginSpan(SpanKind kind, uint64_t compressed_offset, int unused_bits) {
    span_ = FinishedSpan();
    span_.record.kind = kind;
    span_.record.device_offset = device_size_;
    span_.record.compressed_offset = compressed_offset - (unused_bits > 0 ? 1 : 0);
    span_.record.bits = static_cast<uint8_t>(unused_bits > 0 ? 8 - unused_bits : 0);
    if (kind == SpanKind::kDeflate) span_.window = CopyWindow();
  }

  void EndSpan() {
    span_.output = device_size_ - span_.record.device_offset;
    to_packer_.Put(std::move(span_));
  }

  /// The last 32 KiB of output, from the piece in hand and the one before.
  std::vector<uint8_t> CopyWindow() const {
    std::vector<uint8_t> window(kWindowSize);
    const size_t current = piece_ == nullptr ? 0 : std::min(piece_->length, kWindowSize);
    if (current > 0) {
      memcpy(window.data() + kWindowSize - current, piece_->bytes.get() + piece_->length - current, current);
    }
    const size_t before = previous_ == nullptr ? 0 : std::min(previous_->length, kWindowSize - current);
    if (before > 0) {
      memcpy(window.data() + kWindowSize - current - before, previous_->bytes.get() + previous_->length - before,
             before);
    }
    return window;
  }

  SharedPiece NewPiece() const {
    auto piece = std::make_shared<Piece>();
    piece->device_offset = device_size_;
    return piece;
  }

  void PutPiece() {
    if (piece_ == nullptr || piece_->length == 0) return;
    to_device_hash_.Put(piece_);
    to_piece_hash_.Put(piece_);
    to_sink_.Put(piece_);
    previous_ = std::move(piece_);
    piece_ = nullptr;
  }

  void Fail(GzipIndexStatus status, const char* message) {
    outcome_.status = status;
    outcome_.message = message;
  }

  GzipIndexOutcome Finish() {
    if (IsAborted()) Fail(GzipIndexStatus::kAborted, "aborted");
    if (read_error_ != 0) {
      Fail(GzipIndexStatus::kIoError, strerror(read_error_));
      outcome_.error_number = read_error_;
    }
    outcome_.device_size = device_size_;
    if (outcome_.status == GzipIndexStatus::kDone) {
      outcome_.device_digest = device_hash_.Finish();
    } else {
      outcome_.spans.clear();
      outcome_.windows.clear();
      outcome_.piece_digests.clear();
      if (IsAborted() || read_error_ != 0) outcome_.blob_digest.clear();
    }
    return std::move(outcome_);
  }

  GzipIndexer& owner_;
  const GzipIndexRequest& request_;
  BoundedQueue<Chunk> input_{kQueueLength};
  BoundedQueue<SharedPiece> to_device_hash_{kQueueLength};
  BoundedQueue<SharedPiece> to_piece_hash_{kQueueLength};
  BoundedQueue<SharedPiece> to_sink_{kQueueLength};
  BoundedQueue<FinishedSpan> to_packer_{kQueueLength};
  ShaDigest device_hash_;
  std::atomic<int> read_error_{0};

  // Of the inflating thread.
  z_stream stream_ = {};
  Chunk chunk_;
  SharedPiece piece_;
  SharedPiece previous_;
  FinishedSpan span_;
  uint64_t device_size_ = 0;
  uint64_t compressed_ = 0;

  // Each thread writes its own fields, and they are read when all have ended.
  GzipIndexOutcome outcome_;
};

GzipIndexOutcome GzipIndexer::Run() { return GzipPass(this).Run(); }

}  // namespace ocimount
