// libFuzzer: the pass over bytes of the fuzzer's choice agrees with zlib, and what it took it can
// make again.

#include "gzip_fixture.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace ocimount;
  using namespace ocimount::test;
  static MemoryFile file;
  const Bytes blob(data, data + size);
  file.Set(blob);
  CollectingSink sink;
  const GzipIndexOutcome index =
      GzipIndexer(IndexRequest(file.fd(), blob.size(), kWindowSize), &sink).Run();
  Bytes plain;
  const bool is_right = Gunzip(blob, &plain);
  CHECK(is_right == (index.status == GzipIndexStatus::kDone));
  CHECK(index.blob_digest == Sha256(blob.data(), blob.size()));
  if (!is_right) return 0;
  CHECK(sink.output == plain);
  for (uint64_t piece = 0; piece < PieceCount(index); ++piece) {
    const FillOutcome outcome = FillPieces(RequestFor(index, file.fd(), blob.size(), piece, 1));
    CHECK(outcome.status == FillStatus::kDone);
    CHECK(outcome.bytes == Slice(plain, piece * kPieceSize, (piece + 1) * kPieceSize));
  }
  return 0;
}
