#include "gzip_inflater.h"

#include <algorithm>
#include <cstring>
#include <utility>

namespace ocimount {
namespace {

constexpr int kGzipWrapper = 15 + 16;
/// zlib's data_type after Z_BLOCK: unused bits of the last byte, the last block is under way, at a
/// block's boundary.
constexpr int kUnusedBits = 7;
constexpr int kInLastBlock = 64;
constexpr int kAtBoundary = 128;

bool IsZero(const uint8_t* bytes, size_t size) {
  return size == 0 || (bytes[0] == 0 && memcmp(bytes, bytes + 1, size - 1) == 0);
}

}  // namespace

void GzipInflater::Run() {
  if (inflateInit2(&stream_, kGzipWrapper) != Z_OK) {
    return Fail(GzipIndexStatus::kIoError, "zlib has no memory");
  }
  is_open_ = true;
  status_ = GzipIndexStatus::kDone;
  message_.clear();
  InflateMembers();
  if (status_ == GzipIndexStatus::kDone) {
    PutSpanBytes();
    PutPiece();
  }
  chunk_ = nullptr;
  piece_ = nullptr;
  previous_ = nullptr;
}

void GzipInflater::InflateMembers() {
  StartSpan(SpanKind::kMember, 0);
  bool is_member_done = false;
  while (HasInput()) {
    if (is_stopped_) return Fail(GzipIndexStatus::kAborted, "stopped");
    if (is_member_done) {
      if (*stream_.next_in == 0) return TakePadding();
      inflateReset(&stream_);
      StartMember();
      if (IsSpanLongEnough()) StartSpan(SpanKind::kMember, 0);
      is_member_done = false;
    }
    // With no room left inflate() still runs on to where the next byte is due, past boundaries: the
    // span's last byte has to be made by a call that stops at them.
    const bool stops_at_boundary = is_in_header_ || SpanOutput() + 1 >= span_size_;
    const int result = InflateSome(stops_at_boundary);
    if (device_size_ > request_.max_output) {
      return Fail(GzipIndexStatus::kTooLarge, "it inflates to more than is allowed");
    }
    if (is_in_header_ && (stream_.data_type & kAtBoundary) != 0) EndHeader();
    if (result == Z_STREAM_END) {
      const char* why = CheckTrailer();
      if (why != nullptr) return Fail(GzipIndexStatus::kCorrupt, why);
      is_member_done = true;
    } else if (result == Z_MEM_ERROR) {
      return Fail(GzipIndexStatus::kIoError, "no memory");
    } else if (result != Z_OK && result != Z_BUF_ERROR) {
      const char* why = stream_.msg != nullptr ? stream_.msg : "not a gzip stream";
      return Fail(GzipIndexStatus::kCorrupt, why);
    } else if (stops_at_boundary && IsSpanLongEnough() && IsAtCheckpoint()) {
      StartSpan(SpanKind::kDeflate, static_cast<unsigned>(stream_.data_type & kUnusedBits));
    }
    if (piece_ != nullptr && piece_->size == kPieceSize) PutPiece();
  }
  if (!is_member_done) Fail(GzipIndexStatus::kTruncated, "the gzip stream ends early");
}

/// Makes sure that there is input; gives false at the blob's end.
bool GzipInflater::HasInput() {
  while (stream_.avail_in == 0) {
    PutSpanBytes();
    std::optional<SharedBuffer> chunk = pipes_.input.Take();
    if (!chunk) return false;
    last_ = Last();
    chunk_ = std::move(*chunk);
    passed_ = 0;
    stream_.next_in = chunk_->bytes.get();
    stream_.avail_in = static_cast<uInt>(chunk_->size);
  }
  return true;
}

int GzipInflater::InflateSome(bool stops_at_boundary) {
  if (piece_ == nullptr) {
    piece_ = pipes_.pieces.Take();
    if (piece_ == nullptr) return Z_MEM_ERROR;
    piece_->offset = device_size_;
  }
  // One byte more than is allowed is enough to know.
  const uint64_t allowed = request_.max_output - device_size_;
  uint64_t room = std::min<uint64_t>(kPieceSize - piece_->size - 1, allowed) + 1;
  if (!stops_at_boundary) room = std::min(room, span_size_ - 1 - SpanOutput());
  stream_.next_out = piece_->bytes.get() + piece_->size;
  stream_.avail_out = static_cast<uInt>(room);
  const int result = inflate(&stream_, stops_at_boundary ? Z_BLOCK : Z_NO_FLUSH);
  const size_t made = static_cast<size_t>(room) - stream_.avail_out;
  if (makes_crc_) crc_ = FoldCrc32(crc_, piece_->bytes.get() + piece_->size, made);
  piece_->size += made;
  device_size_ += made;
  return result;
}

void GzipInflater::StartMember() {
  is_in_header_ = true;
  crc_ = 0;
  member_start_ = device_size_;
  inflateValidate(&stream_, 1);
}

void GzipInflater::EndHeader() {
  is_in_header_ = false;
  if (makes_crc_) inflateValidate(&stream_, 0);
}

/// At a member's end: gives what is wrong with it, in zlib's words, or null.
const char* GzipInflater::CheckTrailer() const {
  if (!makes_crc_) return nullptr;
  const Trailer trailer = Last();
  if (LoadLittle(trailer.data(), 4) != crc_) return "incorrect data check";
  const auto size = static_cast<uint32_t>(device_size_ - member_start_);
  return LoadLittle(trailer.data() + 4, 4) == size ? nullptr : "incorrect length check";
}

/// Gives the last bytes that were taken.
GzipInflater::Trailer GzipInflater::Last() const {
  Trailer last = last_;
  if (chunk_ == nullptr) return last;
  const size_t taken = chunk_->size - stream_.avail_in;
  const size_t count = std::min(taken, last.size());
  memmove(last.data(), last.data() + count, last.size() - count);
  memcpy(last.data() + last.size() - count, chunk_->bytes.get() + taken - count, count);
  return last;
}

void GzipInflater::TakePadding() {
  while (HasInput()) {
    if (is_stopped_) return Fail(GzipIndexStatus::kAborted, "stopped");
    if (!IsZero(stream_.next_in, stream_.avail_in)) {
      return Fail(GzipIndexStatus::kCorrupt, "other bytes than zeros follow the last gzip member");
    }
    stream_.next_in += stream_.avail_in;
    stream_.avail_in = 0;
  }
}

bool GzipInflater::IsAtCheckpoint() const {
  return (stream_.data_type & kAtBoundary) != 0 && (stream_.data_type & kInLastBlock) == 0;
}

void GzipInflater::StartSpan(SpanKind kind, unsigned unused_bits) {
  PutSpanBytes();
  SpanEvent event;
  SpanStart& start = event.start;
  start.record.kind = kind;
  start.record.device_offset = device_size_;
  const uint64_t taken = chunk_ == nullptr ? 0 : chunk_->offset + passed_;
  start.record.compressed_offset = taken - (unused_bits > 0 ? 1 : 0);
  start.record.bits = static_cast<uint8_t>(unused_bits > 0 ? 8 - unused_bits : 0);
  if (kind == SpanKind::kDeflate) start.window = CopyWindow();
  span_start_ = device_size_;
  pipes_.spans.Put(std::move(event));
}

/// The last 32 KiB of output, from the piece in hand and the one before; fewer have zeros before
/// them.
std::vector<uint8_t> GzipInflater::CopyWindow() const {
  std::vector<uint8_t> window(kWindowSize);
  uint8_t* target = window.data() + kWindowSize;
  size_t left = kWindowSize;
  for (const SharedBuffer& piece : {piece_, previous_}) {
    if (piece == nullptr) continue;
    const size_t count = std::min(piece->size, left);
    target -= count;
    left -= count;
    memcpy(target, piece->bytes.get() + piece->size - count, count);
  }
  return window;
}

/// Passes on what was taken of the chunk.
void GzipInflater::PutSpanBytes() {
  if (chunk_ == nullptr) return;
  const size_t taken = chunk_->size - stream_.avail_in;
  if (taken > passed_) pipes_.spans.Put({chunk_, passed_, taken, {}});
  passed_ = taken;
}

void GzipInflater::PutPiece() {
  if (piece_ == nullptr || piece_->size == 0) return;
  for (auto* queue : {&pipes_.device_hash, &pipes_.piece_hash, &pipes_.sink}) {
    queue->Put(piece_);
  }
  previous_ = std::move(piece_);
}

void GzipInflater::Fail(GzipIndexStatus status, const char* message) {
  status_ = status;
  message_ = message;
}

}  // namespace ocimount
