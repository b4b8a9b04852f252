// Making pieces again: into a file, from huge spans, and from requests that lie.

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <cstring>

#include "gzip_fixture.h"

namespace ocimount::test {
namespace {

GzipIndexOutcome Index(const MemoryFile& file, uint64_t length, uint64_t span_size) {
  CollectingSink sink;
  GzipIndexOutcome index = GzipIndexer(IndexRequest(file.fd(), length, span_size), &sink).Run();
  CHECK(index.status == GzipIndexStatus::kDone);
  return index;
}

void TestWriting() {
  const Bytes plain = LayerLike(4 * kPieceSize + 99, 11);
  const Bytes blob = Gzip(plain);
  const MemoryFile file(blob);
  const GzipIndexOutcome index = Index(file, blob.size(), 200000);
  const MemoryFile data;
  for (const uint64_t first : {4, 0, 2}) {
    FillRequest request = RequestFor(index, file.fd(), blob.size(), first, first == 4 ? 1 : 2);
    request.data_fd = data.fd();
    CHECK(FillPieces(request).status == FillStatus::kDone);
  }
  CHECK(data.Get() == plain);

  const int full = open("/dev/full", O_WRONLY | O_CLOEXEC);
  CHECK(full >= 0);
  FillRequest request = RequestFor(index, file.fd(), blob.size(), 1, 2);
  request.data_fd = full;
  const FillOutcome outcome = FillPieces(request);
  CHECK(outcome.status == FillStatus::kWriteError && outcome.error_number != 0);
  CHECK(outcome.bytes == Slice(plain, kPieceSize, 3 * kPieceSize));
  close(full);
}

/// One deflate block without an end, as some fast compressors write it: nothing but literals of the
/// fixed code.
Bytes OneBlock(size_t size, Bytes* plain) {
  Bytes blob = {0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 3};
  uint64_t bits = 3;
  unsigned count = 3;
  Random random{12};
  for (size_t index = 0; index < size; ++index) {
    // Symbols 0 to 143 have the codes 0x30 to 0xbf, highest bit first.
    const uint8_t byte = static_cast<uint8_t>(random.Below(144));
    for (int bit = 7; bit >= 0; --bit) bits |= uint64_t{(byte + 0x30u) >> bit & 1} << count++;
    plain->push_back(byte);
    for (; count >= 8; count -= 8, bits >>= 8) blob.push_back(static_cast<uint8_t>(bits));
  }
  blob.push_back(static_cast<uint8_t>(bits));
  // Two bytes for the end's code, whatever the bits before it, then the sum, which is filled in by
  // gzip's own check.
  if (count + 7 > 8) blob.push_back(0);
  return blob;
}

void TestHugeSpans() {
  Bytes plain;
  Bytes blob = OneBlock(40 * kPieceSize, &plain);
  const Bytes sums = Gzip(plain, {.level = 0});
  blob.insert(blob.end(), sums.end() - 8, sums.end());
  // A member of its own behind it, so that its span is in the middle.
  const Bytes tail = LayerLike(2 * kPieceSize, 13);
  blob = Concat({blob, Gzip(tail)});
  plain = Concat({plain, tail});
  const MemoryFile file(blob);
  const GzipIndexOutcome index = Index(file, blob.size(), kPieceSize);
  CHECK(index.device_size == plain.size());
  for (const uint64_t first : {uint64_t{0}, uint64_t{39}, PieceCount(index) - 3}) {
    FillRequest request = RequestFor(index, file.fd(), blob.size(), first, 3);
    const FillOutcome outcome = FillPieces(request);
    CHECK(outcome.status == FillStatus::kDone);
    CHECK(outcome.bytes == Slice(plain, first * kPieceSize, (first + 3) * kPieceSize));
  }
  blob[1000] ^= 1;
  const MemoryFile damaged(blob);
  CHECK(FillPieces(RequestFor(index, damaged.fd(), blob.size(), 20, 1)).status == FillStatus::kBadSpan);
}

void TestLies() {
  const Bytes plain = LayerLike(4 * kPieceSize + 99, 14);
  const Bytes blob = Gzip(plain, {.level = 9});
  const MemoryFile file(blob);
  const MemoryFile data;
  const GzipIndexOutcome index = Index(file, blob.size(), 100000);
  const FillRequest right = RequestFor(index, file.fd(), blob.size(), 2, 1);
  CHECK(right.window_size > 0 && right.spans_size > kSpanRecordSize);
  const auto status_of = [&](auto change) {
    FillRequest request = right;
    request.data_fd = data.fd();
    change(request);
    const FillOutcome outcome = FillPieces(request);
    CHECK(outcome.bytes.empty() && !outcome.message.empty() && data.Get().empty());
    return outcome.status;
  };
  using R = FillRequest&;
  const Bytes junk(2 * kSpanRecordSize, 0xff);
  CHECK(status_of([](R r) { r.blob_fd = -1; }) == FillStatus::kReadError);
  CHECK(status_of([](R r) { r.blob_offset = 1; }) == FillStatus::kBadSpan);
  CHECK(status_of([](R r) { r.blob_offset = 1u << 30; }) == FillStatus::kSourceChanged);
  CHECK(status_of([](R r) { r.bits_end ^= 1; r.compressed_end -= 1; }) == FillStatus::kBadSpan);
  CHECK(status_of([&](R r) { r.piece_digests = index.piece_digests.data(); }) == FillStatus::kBadPiece);
  CHECK(status_of([&](R r) { r.window = junk.data(); }) == FillStatus::kCorrupt);
  CHECK(status_of([](R r) { r.window_size = 0; }) == FillStatus::kCorrupt);
  CHECK(status_of([](R r) { r.blob_offset = UINT64_MAX; }) == FillStatus::kCorrupt);
  CHECK(status_of([](R r) { r.blob_length = 100; }) == FillStatus::kCorrupt);
  CHECK(status_of([](R r) { r.compressed_end = UINT64_MAX; }) == FillStatus::kCorrupt);
  CHECK(status_of([](R r) { r.compressed_end = 0; }) == FillStatus::kCorrupt);
  CHECK(status_of([](R r) { r.bits_end = 8; }) == FillStatus::kCorrupt);
  for (const uint64_t size : {uint64_t{0}, 2 * kPieceSize, UINT64_MAX}) {
    CHECK(status_of([=](R r) { r.device_size = size; }) == FillStatus::kCorrupt);
  }
  for (const uint64_t piece : {uint64_t{0}, uint64_t{4}, uint64_t{5}, UINT64_MAX}) {
    CHECK(status_of([=](R r) { r.first_piece = piece; }) != FillStatus::kDone);
  }
  for (const size_t count : {size_t{0}, kMaxFillPieces + 1, SIZE_MAX}) {
    CHECK(status_of([=](R r) { r.piece_count = count; }) == FillStatus::kCorrupt);
  }
  CHECK(status_of([](R r) { r.spans_size = 0; }) == FillStatus::kCorrupt);
  CHECK(status_of([](R r) { r.spans_size -= 1; }) == FillStatus::kCorrupt);
  CHECK(status_of([&](R r) { r.spans = junk.data(), r.spans_size = junk.size(); }) ==
        FillStatus::kCorrupt);
  CHECK(status_of([](R r) { r.spans_size -= kSpanRecordSize; }) == FillStatus::kBadSpan);

  // Any bit of the records; those of a device offset may end in the wrong bytes, which the piece's
  // digest finds.
  Bytes records(right.spans, right.spans + right.spans_size);
  for (size_t bit = 0; bit < 8 * records.size(); ++bit) {
    const size_t byte = bit / 8;
    const size_t field = byte % kSpanRecordSize;
    // Of no use to a fill: where windows lie, and what only one who starts at a later record needs.
    const bool is_place = field >= 8 && field < 16;
    const bool is_digest = field >= 26;
    if (byte >= kSpanRecordSize && !is_place && !is_digest) continue;
    if (field >= 16 && field < 20) continue;
    records[byte] ^= static_cast<uint8_t>(1 << bit % 8);
    status_of([&](R r) { r.spans = records.data(); });
    records[byte] ^= static_cast<uint8_t>(1 << bit % 8);
  }
}

/// Records that are in order and have right digests, over bytes that are not what they say.
void TestForgedRecords() {
  const Bytes plain = LayerLike(3 * kPieceSize, 15);
  const Bytes blob = Gzip(plain);
  const MemoryFile file(blob);
  Random random{16};
  for (int round = 0; round < 300; ++round) {
    SpanRecord record;
    record.device_offset = random.Below(2) == 0 ? 0 : random.Below(kPieceSize);
    record.compressed_offset = random.Below(static_cast<uint32_t>(blob.size()));
    record.kind = random.Below(8) == 0 ? SpanKind::kMember : SpanKind::kDeflate;
    record.bits = record.kind == SpanKind::kMember ? 0 : static_cast<uint8_t>(random.Below(8));
    const Bytes digest =
        Sha256(blob.data() + record.compressed_offset, blob.size() - record.compressed_offset);
    std::copy(digest.begin(), digest.end(), record.digest.begin());
    Bytes encoded(kSpanRecordSize);
    EncodeSpanRecord(record, encoded.data());
    FillRequest request;
    request.blob_fd = file.fd();
    request.blob_length = blob.size();
    request.spans = encoded.data();
    request.spans_size = encoded.size();
    request.compressed_end = blob.size();
    request.device_size = plain.size();
    request.first_piece = 1;
    request.piece_digests = encoded.data();
    request.piece_count = 1;
    const FillStatus status = FillPieces(request).status;
    CHECK(status == FillStatus::kCorrupt || status == FillStatus::kBadPiece);
  }
}

}  // namespace

void TestFill() {
  TestWriting();
  TestHugeSpans();
  TestLies();
  TestForgedRecords();
}

}  // namespace ocimount::test
