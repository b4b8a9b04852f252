// Damaged blobs: the pass says what is wrong and still has the blob's digest; a fill finds a
// flipped bit in the spans that it reads and in no other.

#include <algorithm>

#include "gzip_fixture.h"

namespace ocimount::test {
namespace {

GzipIndexOutcome Index(const Bytes& blob, uint64_t span_size = kPieceSize,
                       bool may_accelerate = true) {
  const MemoryFile file(blob);
  CollectingSink sink;
  GzipIndexRequest request = IndexRequest(file.fd(), blob.size(), span_size);
  request.may_accelerate = may_accelerate;
  GzipIndexOutcome index = GzipIndexer(request, &sink).Run();
  CHECK(index.blob_digest == Sha256(blob.data(), blob.size()));
  if (index.status != GzipIndexStatus::kDone) {
    CHECK(!index.message.empty() && index.spans.empty() && index.windows.empty());
    CHECK(index.device_digest.empty() && index.piece_digests.empty());
  }
  return index;
}

void TestCuts() {
  const Bytes plain = LayerLike(200000, 21);
  const Bytes blob = Gzip(plain, {.flags = 30});
  const Bytes two = Concat({blob, blob});
  for (size_t length = 0; length < blob.size(); length += length < 900 ? 13 : 997) {
    CHECK(Index(Slice(blob, 0, length)).status == GzipIndexStatus::kTruncated);
    if (length == 0) continue;
    CHECK(Index(Slice(two, 0, blob.size() + length)).status == GzipIndexStatus::kTruncated);
  }
  for (size_t cut = 1; cut < 20; ++cut) {
    CHECK(Index(Slice(blob, 0, blob.size() - cut)).status == GzipIndexStatus::kTruncated);
  }
}

void TestRests() {
  const Bytes blob = Gzip(LayerLike(100000, 22));
  const auto with = [&](const Bytes& rest) { return Index(Concat({blob, rest})).status; };
  CHECK(with({'m', 'o', 'r', 'e'}) == GzipIndexStatus::kCorrupt);
  CHECK(with({0, 0, 1}) == GzipIndexStatus::kCorrupt);
  CHECK(with({0, 0x1f, 0x8b, 8, 0}) == GzipIndexStatus::kCorrupt);
  CHECK(with({0x1f}) == GzipIndexStatus::kTruncated);
  Bytes late(3 * 1024 * 1024);
  late[2 * 1024 * 1024 + 3] = 1;
  CHECK(with(late) == GzipIndexStatus::kCorrupt);
  CHECK(with(Concat({Bytes(512), blob})) == GzipIndexStatus::kCorrupt);
  CHECK(Index(Bytes(512)).status == GzipIndexStatus::kCorrupt);
  CHECK(Index(LayerLike(70000, 23)).status == GzipIndexStatus::kCorrupt);
}

void TestFlips() {
  const Bytes plain = LayerLike(kPieceSize + 70000, 24);
  const Bytes blob = Concat({Gzip(plain, {.flags = 30}), Gzip(plain, {.level = 0}), Bytes(700)});
  Random random{25};
  for (int round = 0; round < 120; ++round) {
    Bytes damaged = blob;
    // Headers, trailers, the bodies and the padding.
    const uint32_t near = random.Below(900);
    const size_t at = round % 3 == 0   ? near
                      : round % 3 == 1 ? blob.size() - 1 - near
                                       : random.Below(static_cast<uint32_t>(blob.size()));
    damaged[at] ^= static_cast<uint8_t>(1 << random.Below(8));
    Bytes ignored;
    const bool is_right = Gunzip(damaged, &ignored);
    for (const bool may_accelerate : {true, false}) {
      const GzipIndexOutcome index = Index(damaged, kPieceSize, may_accelerate);
      CHECK((index.status == GzipIndexStatus::kDone) == is_right);
    }
  }
}

/// Each bit of a trailer counts, also where it lies in two of the chunks that are read.
void TestTrailers() {
  constexpr size_t kChunkSize = 256 * 1024;
  const Bytes plain = LayerLike(kChunkSize + 64, 27);
  for (size_t behind = 0; behind < 10; ++behind) {
    // Stored, so that its size can be chosen.
    const size_t extra = Gzip(Slice(plain, 0, kChunkSize), {.level = 0}).size() - kChunkSize;
    const Bytes member = Gzip(Slice(plain, 0, kChunkSize - extra + behind), {.level = 0});
    CHECK(member.size() == kChunkSize + behind);
    const Bytes blob = Concat({member, Gzip(plain)});
    CHECK(Index(blob).status == GzipIndexStatus::kDone);
    for (size_t bit = 0; bit < 64; ++bit) {
      Bytes damaged = blob;
      damaged[member.size() - 1 - bit / 8] ^= static_cast<uint8_t>(1 << bit % 8);
      const GzipIndexOutcome index = Index(damaged);
      CHECK(index.status == GzipIndexStatus::kCorrupt);
      CHECK(index.message == (bit < 32 ? "incorrect length check" : "incorrect data check"));
    }
  }
}

void TestFilling() {
  const Bytes plain = LayerLike(5 * kPieceSize, 26);
  const Bytes blob = Concat({Gzip(plain, {.flags = 8}), Bytes(100)});
  const GzipIndexOutcome index = Index(blob, 150000);
  const size_t count = SpanCount(index);
  for (size_t number = 0; number < count; number += 3) {
    const uint64_t begin = SpanAt(index, number).compressed_offset;
    const uint64_t end = number + 1 < count ? SpanAt(index, number + 1).compressed_offset : blob.size();
    for (const uint64_t at : {begin, (begin + end) / 2, end - 1}) {
      Bytes damaged = blob;
      damaged[at] ^= 0x80;
      const MemoryFile file(damaged);
      bool was_found = false;
      for (uint64_t piece = 0; piece < PieceCount(index); ++piece) {
        const FillRequest request = RequestFor(index, file.fd(), blob.size(), piece, 1);
        const size_t first = static_cast<size_t>(request.spans - index.spans.data()) / kSpanRecordSize;
        const size_t last = first + request.spans_size / kSpanRecordSize - 1;
        // A byte on the border may be the span's before, too.
        const bool reads = first <= number && number <= last;
        const bool may_read = reads || (last + 1 == number && at == begin);
        const FillOutcome outcome = FillPieces(request);
        if (reads) CHECK(outcome.status == FillStatus::kBadSpan);
        if (!may_read) CHECK(outcome.status == FillStatus::kDone);
        was_found = was_found || outcome.status == FillStatus::kBadSpan;
      }
      CHECK(was_found);
    }
  }
  const MemoryFile cut(Slice(blob, 0, blob.size() / 2));
  CHECK(FillPieces(RequestFor(index, cut.fd(), blob.size(), 4, 1)).status == FillStatus::kSourceChanged);
}

}  // namespace

void TestDamage() {
  TestCuts();
  TestRests();
  TestFlips();
  TestTrailers();
  TestFilling();
}

}  // namespace ocimount::test
