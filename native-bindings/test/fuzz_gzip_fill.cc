// libFuzzer: a fill from records, a window and compressed bytes of the fuzzer's choice. A first
// byte with bit 0 makes the records' digests right, so that it comes past them.

#include <algorithm>

#include "gzip_fixture.h"

namespace {

using namespace ocimount;
using namespace ocimount::test;

constexpr size_t kHead = 16;

/// Writes digests over what the records say, as far as that makes sense.
void SignRecords(Bytes* records, const Bytes& blob, uint64_t end) {
  for (size_t at = 0; at < records->size(); at += kSpanRecordSize) {
    uint8_t* const record = records->data() + at;
    uint64_t next = end;
    if (at + kSpanRecordSize < records->size()) {
      next = LoadLittle(record + kSpanRecordSize + 8, 8) + (record[kSpanRecordSize + 25] > 0);
    }
    const uint64_t begin = LoadLittle(record + 8, 8);
    next = std::min<uint64_t>(next, blob.size());
    if (begin > next) continue;
    const Bytes digest = Sha256(blob.data() + begin, next - begin);
    std::copy(digest.begin(), digest.end(), record + 32);
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  if (size < kHead) return 0;
  static MemoryFile file;
  const size_t record_count = data[1] % 4;
  const size_t window_size = LoadLittle(data + 2, 2);
  FillRequest request;
  request.compressed_end = LoadLittle(data + 4, 2);
  request.bits_end = data[6];
  request.first_piece = data[7];
  request.device_size = LoadLittle(data + 8, 4);
  request.piece_count = data[12] % 3;
  const bool is_signed = (data[0] & 1) != 0;
  data += kHead;
  size -= kHead;
  if (size < record_count * kSpanRecordSize + window_size) return 0;
  Bytes records(data, data + record_count * kSpanRecordSize);
  data += records.size();
  const Bytes window(data, data + window_size);
  const Bytes blob(data + window_size, data + (size - records.size()));
  if (is_signed) SignRecords(&records, blob, request.compressed_end);

  file.Set(blob);
  const Bytes digests(3 * kDigestSize);
  request.blob_fd = file.fd();
  request.blob_length = blob.size();
  request.spans = records.data();
  request.spans_size = records.size();
  request.window = window.data();
  request.window_size = window.size();
  request.piece_digests = digests.data();
  const FillOutcome outcome = FillPieces(request);
  CHECK(outcome.status != FillStatus::kDone && outcome.bytes.empty());
  return 0;
}
