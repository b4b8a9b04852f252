// gzip_test BLOB: indexes a gzip blob, makes every piece again from its spans, and compares with zlib's own inflate. Then
// flips bits: a damaged span must be noticed by the fill that reads it and by no other. Prints sizes and times.

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>
#include <zlib.h>

#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <vector>

#include "../src/gzip_fill.h"
#include "../src/gzip_index.h"

using namespace ocimount;

#define CHECK(condition)                                                        \
  do {                                                                          \
    if (!(condition)) {                                                         \
      fprintf(stderr, "%s:%d: failed: %s\n", __FILE__, __LINE__, #condition);   \
      exit(1);                                                                  \
    }                                                                           \
  } while (false)

namespace {

double Now() {
  return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count();
}

/// Inflates a whole blob in one thread, with nothing else: what the pass is compared with.
std::vector<uint8_t> BareInflate(const std::vector<uint8_t>& blob, bool keeps_output, uint64_t* size) {
  std::vector<uint8_t> output;
  std::vector<uint8_t> buffer(1 << 20);
  z_stream stream = {};
  CHECK(inflateInit2(&stream, 15 + 16) == Z_OK);
  stream.next_in = const_cast<uint8_t*>(blob.data());
  stream.avail_in = static_cast<uInt>(blob.size());
  *size = 0;
  for (;;) {
    stream.next_out = buffer.data();
    stream.avail_out = static_cast<uInt>(buffer.size());
    const int result = inflate(&stream, Z_NO_FLUSH);
    const size_t made = buffer.size() - stream.avail_out;
    *size += made;
    if (keeps_output) output.insert(output.end(), buffer.begin(), buffer.begin() + static_cast<long>(made));
    if (result == Z_STREAM_END) {
      if (stream.avail_in == 0 || *stream.next_in == 0) break;
      inflateReset(&stream);
    } else {
      CHECK(result == Z_OK);
    }
  }
  inflateEnd(&stream);
  return output;
}

class CollectingSink : public OutputSink {
 public:
  bool OnOutput(const uint8_t*, size_t size, uint64_t device_offset) override {
    CHECK(device_offset == size_);
    size_ += size;
    return true;
  }
  uint64_t size_ = 0;
};

struct Index {
  GzipIndexOutcome outcome;
  size_t SpanCount() const { return outcome.spans.size() / kSpanRecordSize; }
  SpanRecord Span(size_t number) const {
    SpanRecord span;
    CHECK(DecodeSpanRecord(outcome.spans.data() + number * kSpanRecordSize, &span));
    return span;
  }
};

FillOutcome Fill(const Index& index, int fd, uint64_t blob_size, uint64_t piece, size_t* span_count) {
  const uint64_t start = piece * kPieceSize;
  const uint64_t end = std::min(start + kPieceSize, index.outcome.device_size);
  size_t first = 0;
  while (first + 1 < index.SpanCount() && index.Span(first + 1).device_offset <= start) ++first;
  size_t last = first + 1;
  while (last < index.SpanCount() && index.Span(last).device_offset < end) ++last;
  FillRequest request;
  request.blob_fd = fd;
  request.blob_length = blob_size;
  request.spans = index.outcome.spans.data() + first * kSpanRecordSize;
  request.spans_size = (last - first) * kSpanRecordSize;
  request.window = index.outcome.windows.data() + index.Span(first).window_offset;
  request.window_size = index.Span(first).window_length;
  const bool is_last = last == index.SpanCount();
  request.compressed_end = is_last ? blob_size : index.Span(last).compressed_offset;
  request.bits_end = is_last ? 0 : index.Span(last).bits;
  request.device_size = index.outcome.device_size;
  request.first_piece = piece;
  request.piece_digests = index.outcome.piece_digests.data() + piece * kDigestSize;
  request.piece_count = 1;
  *span_count = last - first;
  return FillPieces(request);
}

}  // namespace

int main(int count, char** arguments) {
  CHECK(count >= 2);
  const bool is_quiet = count > 2;
  const int fd = open(arguments[1], O_RDONLY);
  struct stat status;
  CHECK(fd >= 0 && fstat(fd, &status) == 0);
  std::vector<uint8_t> blob(static_cast<size_t>(status.st_size));
  CHECK(pread(fd, blob.data(), blob.size(), 0) == status.st_size);
  const uint64_t blob_size = blob.size();

  uint64_t size = 0;
  const double begin = Now();
  BareInflate(blob, false, &size);
  const double inflated = Now();
  GzipIndexRequest request;
  request.fd = fd;
  request.length = blob_size;
  request.max_output = 1ull << 40;
  CollectingSink sink;
  const Index index = {GzipIndexer(request, &sink).Run()};
  const double indexed = Now();
  CHECK(index.outcome.status == GzipIndexStatus::kDone);
  CHECK(index.outcome.device_size == size && sink.size_ == size);
  const std::vector<uint8_t> expected = BareInflate(blob, true, &size);
  ShaDigest hash(HashKind::kSha256);
  hash.Update(expected.data(), expected.size());
  CHECK(hash.Finish() == index.outcome.device_digest);
  hash.Update(blob.data(), blob.size());
  CHECK(hash.Finish() == index.outcome.blob_digest);

  const double filling = Now();
  size_t most_spans = 0;
  const uint64_t pieces = (size + kPieceSize - 1) / kPieceSize;
  for (uint64_t piece = 0; piece < pieces; ++piece) {
    size_t spans = 0;
    const FillOutcome outcome = Fill(index, fd, blob_size, piece, &spans);
    CHECK(outcome.status == FillStatus::kDone);
    CHECK(std::equal(outcome.bytes.begin(), outcome.bytes.end(),
                     expected.begin() + static_cast<long>(piece * kPieceSize)));
    most_spans = std::max(most_spans, spans);
  }
  const double filled = Now();
  const double index_size = static_cast<double>(index.outcome.spans.size() + index.outcome.windows.size());
  if (!is_quiet) {
    printf("%zu spans, at most %zu for a piece; index %.2f %% of the device, %.2f %% of the blob\n",
           index.SpanCount(), most_spans, 100 * index_size / static_cast<double>(size),
           100 * index_size / static_cast<double>(blob_size));
    printf("bare inflate %.3f s, pass %.3f s (%.2f times), all pieces one by one %.3f s\n", inflated - begin,
           indexed - inflated, (indexed - inflated) / (inflated - begin), filled - filling);
  }

  // A flipped bit in the middle of a span is found by whoever reads it.
  const size_t damaged = index.SpanCount() / 2;
  const uint64_t damaged_end =
      damaged + 1 < index.SpanCount() ? index.Span(damaged + 1).compressed_offset : blob_size;
  const uint64_t at = (index.Span(damaged).compressed_offset + damaged_end) / 2;
  FILE* copy = tmpfile();
  CHECK(copy != nullptr);
  blob[at] ^= 4;
  CHECK(fwrite(blob.data(), 1, blob.size(), copy) == blob.size() && fflush(copy) == 0);
  bool was_found = false;
  for (uint64_t piece = 0; piece < pieces; ++piece) {
    size_t spans = 0;
    const FillOutcome outcome = Fill(index, fileno(copy), blob_size, piece, &spans);
    CHECK(outcome.status == FillStatus::kDone || outcome.status == FillStatus::kBadSpan);
    was_found = was_found || outcome.status == FillStatus::kBadSpan;
  }
  CHECK(was_found || size == 0);
  // Cut anywhere, a pass never says that it is done, and still hashes what there is.
  for (int twentieth = 0; twentieth < 20 && blob_size < (4u << 20); ++twentieth) {
    request.length = blob_size * static_cast<uint64_t>(twentieth) / 20;
    CollectingSink ignored;
    const GzipIndexOutcome outcome = GzipIndexer(request, &ignored).Run();
    CHECK(!outcome.blob_digest.empty());
  }
  return 0;
}
