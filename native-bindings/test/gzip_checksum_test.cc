// What the processor's instructions make is what zlib and OpenSSL make, for every size of a rest.

#include <zlib.h>

#include <algorithm>

#include "crc32.h"
#include "gzip_fixture.h"
#include "sha256_pair.h"

namespace ocimount::test {
namespace {

constexpr size_t kBlockSize = 64;

void TestCrc() {
  if (!CanFoldCrc32()) {
    std::printf("# skipped: this processor does not multiply without carry\n");
    return;
  }
  const Bytes bytes = LayerLike(70000, 31);
  Random random{32};
  for (size_t size = 0; size < 1000; ++size) {
    const size_t begin = random.Below(100);
    for (const uint32_t before : {0u, 0xffffffffu, random.Next()}) {
      CHECK(FoldCrc32(before, bytes.data() + begin, size) ==
            crc32_z(before, bytes.data() + begin, size));
    }
  }
  CHECK(FoldCrc32(0, bytes.data(), bytes.size()) == crc32_z(0, bytes.data(), bytes.size()));
}

void CheckPair(const Bytes& stream, size_t piece_size) {
  Sha256Pair pair;
  for (size_t at = 0; at < stream.size(); at += piece_size) {
    const size_t size = std::min(piece_size, stream.size() - at);
    CHECK(pair.AddPiece(stream.data() + at, size) == Sha256(stream.data() + at, size));
  }
  CHECK(pair.Finish() == Sha256(stream.data(), stream.size()));
}

void TestPair() {
  if (!Sha256Pair::IsSupported()) {
    std::printf("# skipped: this processor has no instructions for SHA-256\n");
    return;
  }
  const Bytes bytes = LayerLike(5 * kPieceSize, 33);
  for (size_t size = 0; size < 5 * kBlockSize; ++size) {
    CheckPair(Slice(bytes, 0, size), kBlockSize);
    CheckPair(Slice(bytes, size, 3 * size), 3 * kBlockSize);
  }
  CheckPair(bytes, kPieceSize);
  CheckPair(Slice(bytes, 0, 2 * kPieceSize + 1), kPieceSize);
}

}  // namespace

void TestChecksums() {
  TestCrc();
  TestPair();
}

}  // namespace ocimount::test
