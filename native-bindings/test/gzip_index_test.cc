// The pass over a blob of any shape says what zlib says, and its spans keep their promises.

#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <thread>

#include "gzip_fixture.h"
#include "sha_digest.h"

namespace ocimount::test {
namespace {

void CheckSpans(const GzipIndexOutcome& index, const Bytes& blob, uint64_t span_size) {
  const size_t count = SpanCount(index);
  CHECK(count > 0 && SpanAt(index, 0).device_offset == 0);
  CHECK(SpanAt(index, 0).compressed_offset == 0);
  size_t windows = 0;
  for (size_t number = 0; number < count; ++number) {
    const SpanRecord span = SpanAt(index, number);
    uint64_t end = blob.size();
    if (number + 1 < count) {
      const SpanRecord next = SpanAt(index, number + 1);
      CHECK(next.device_offset - span.device_offset >= span_size);
      end = next.compressed_offset + (next.bits > 0 ? 1 : 0);
    }
    if (span.window_length > 0) CHECK(span.window_offset == windows);
    windows += span.window_length;
    const Bytes digest = Sha256(blob.data() + span.compressed_offset, end - span.compressed_offset);
    CHECK(std::equal(digest.begin(), digest.end(), span.digest.begin()));
  }
  CHECK(windows == index.windows.size());
}

/// Indexes and makes all pieces again, one by one, in runs and all at once.
void CheckBlob(const char* name, const Bytes& blob, const Bytes& plain, uint64_t span_size,
               bool may_accelerate) {
  const MemoryFile file(blob);
  CollectingSink sink;
  GzipIndexRequest request = IndexRequest(file.fd(), blob.size(), span_size);
  request.may_accelerate = may_accelerate;
  const GzipIndexOutcome index = GzipIndexer(request, &sink).Run();
  if (index.status != GzipIndexStatus::kDone) fprintf(stderr, "%s: %s\n", name, index.message.c_str());
  CHECK(index.status == GzipIndexStatus::kDone && index.message.empty());
  CHECK(sink.output == plain && index.device_size == plain.size());
  CHECK(index.blob_digest == Sha256(blob.data(), blob.size()));
  CHECK(index.device_digest == Sha256(plain.data(), plain.size()));
  CheckSpans(index, blob, span_size);
  const uint64_t pieces = PieceCount(index);
  CHECK(index.piece_digests.size() == pieces * kDigestSize);
  for (const size_t count : {size_t{1}, size_t{3}, size_t{kMaxFillPieces}}) {
    for (uint64_t first = 0; first < pieces; ++first) {
      const size_t fitting = static_cast<size_t>(std::min<uint64_t>(count, pieces - first));
      const FillOutcome outcome =
          FillPieces(RequestFor(index, file.fd(), blob.size(), first, fitting));
      if (outcome.status != FillStatus::kDone) {
        fprintf(stderr, "%s: piece %d: %s\n", name, static_cast<int>(first), outcome.message.c_str());
      }
      CHECK(outcome.status == FillStatus::kDone);
      CHECK(outcome.bytes == Slice(plain, first * kPieceSize, (first + fitting) * kPieceSize));
    }
  }
}

void CheckBlob(const char* name, const Bytes& blob) {
  Bytes plain;
  CHECK(Gunzip(blob, &plain));
  CheckBlob(name, blob, plain, kWindowSize, true);
  CheckBlob(name, blob, plain, 300000, false);
  CheckBlob(name, blob, plain, kPieceSize, true);
}

void TestShapes() {
  const Bytes plain = LayerLike(2 * kPieceSize + 345678, 1);
  for (int level = 0; level <= 9; ++level) CheckBlob("level", Gzip(plain, {.level = level}));
  for (int strategy = 1; strategy <= 4; ++strategy) {
    CheckBlob("strategy", Gzip(plain, {.strategy = strategy}));
  }
  for (const int flags : {2, 4, 8, 16, 30}) {
    const GzipShape shape = {.flags = flags};
    CheckBlob("fields", Concat({Gzip(plain, shape), Gzip(plain, shape)}));
  }
  CheckBlob("a small window", Gzip(plain, {.window_bits = 9, .memory_level = 1}));
  CheckBlob("tiny blocks", Gzip(plain, {.memory_level = 1}));
  CheckBlob("full flushes", Gzip(plain, {.flush_every = 5000}));
  CheckBlob("flushed stored blocks", Gzip(plain, {.level = 0, .flush_every = 777}));
  CheckBlob("64 KiB members", GzipMembers(plain, 65280));
  CheckBlob("members of a byte", GzipMembers(LayerLike(3000, 2), 1));
  CheckBlob("whole pieces", Gzip(Slice(plain, 0, 2 * kPieceSize)));
  CheckBlob("zeros", Gzip(Bytes(9 * kPieceSize + 1)));
  CheckBlob("one byte", Gzip({'x'}));
  const Bytes nothing = Gzip({});
  CheckBlob("nothing", nothing);
  CheckBlob("nothing, twice", Concat({nothing, nothing}));
  CheckBlob("empty members between", Concat({nothing, Gzip(plain), nothing, Gzip(plain), nothing}));
  for (const size_t padding : {1, 511, 1024, 3 * 1024 * 1024}) {
    CheckBlob("padding", Concat({Gzip(plain), Bytes(padding)}));
  }
  CheckBlob("padding behind nothing", Concat({nothing, Bytes(10240)}));
}

void TestPrograms() {
  const Bytes plain = LayerLike(kPieceSize + 234567, 3);
  for (const char* program : {"gzip -1", "gzip -6", "gzip -9", "gzip --rsyncable", "pigz -6",
                              "pigz -i -b 32", "pigz -9", "bgzip -c"}) {
    const std::string command = program;
    const std::string word = command.substr(0, command.find(' '));
    if (system(("command -v " + word + " >/dev/null").c_str()) != 0) continue;
    const Bytes blob = Filter(command, plain);
    CHECK(Filter("gzip -dc", blob) == plain);
    CheckBlob(program, blob);
  }
}

void TestStretch() {
  const Bytes plain = LayerLike(kPieceSize + 5, 4);
  const Bytes blob = Gzip(plain);
  const MemoryFile file(Concat({Bytes(777, 1), blob, Bytes(99, 2)}));
  GzipIndexRequest request = IndexRequest(file.fd(), blob.size(), kPieceSize);
  request.offset = 777;
  request.blob_hash = HashKind::kSha512;
  request.device_hash = HashKind::kSha512;
  CollectingSink sink;
  GzipIndexer indexer(request, &sink);
  const GzipIndexOutcome index = indexer.Run();
  CHECK(index.status == GzipIndexStatus::kDone && indexer.progress() == blob.size());
  ShaDigest hash(HashKind::kSha512);
  hash.Update(blob.data(), blob.size());
  CHECK(hash.Finish() == index.blob_digest);
  hash.Update(plain.data(), plain.size());
  CHECK(hash.Finish() == index.device_digest);
  FillRequest fill = RequestFor(index, file.fd(), blob.size(), 0, 2);
  fill.blob_offset = 777;
  CHECK(FillPieces(fill).bytes == plain);
}

void TestEnds() {
  const Bytes plain = LayerLike(20 * kPieceSize, 5);
  const Bytes blob = Gzip(plain, {.level = 1});
  const MemoryFile file(blob);
  GzipIndexRequest request = IndexRequest(file.fd(), blob.size(), kPieceSize);

  CollectingSink refusing;
  refusing.limit = 2;
  GzipIndexOutcome index = GzipIndexer(request, &refusing).Run();
  CHECK(index.status == GzipIndexStatus::kAborted && refusing.calls == 2 && index.spans.empty());
  CHECK(index.blob_digest == Sha256(blob.data(), blob.size()));

  CollectingSink aborting;
  GzipIndexer aborted(request, &aborting);
  aborting.on_call = [&] { aborted.Abort(); };
  index = aborted.Run();
  CHECK(index.status == GzipIndexStatus::kAborted && aborting.calls == 1);
  CHECK(index.blob_digest.empty());

  CollectingSink ignored;
  GzipIndexer from_outside(request, &ignored);
  std::thread other([&] {
    while (from_outside.progress() == 0) usleep(100);
    from_outside.Abort();
  });
  index = from_outside.Run();
  other.join();
  CHECK(index.status == GzipIndexStatus::kAborted || index.status == GzipIndexStatus::kDone);

  for (const uint64_t allowed : {uint64_t{0}, uint64_t{kPieceSize - 1}, 3 * kPieceSize + 1}) {
    CollectingSink sink;
    request.max_output = allowed;
    index = GzipIndexer(request, &sink).Run();
    CHECK(index.status == GzipIndexStatus::kTooLarge && sink.output.size() <= allowed);
    CHECK(index.blob_digest == Sha256(blob.data(), blob.size()));
  }
  CollectingSink exact;
  request.max_output = plain.size();
  CHECK(GzipIndexer(request, &exact).Run().status == GzipIndexStatus::kDone);

  CollectingSink sink;
  request.length = blob.size() + 1;
  index = GzipIndexer(request, &sink).Run();
  CHECK(index.status == GzipIndexStatus::kIoError && index.error_number == ENODATA);
  request.fd = -1;
  index = GzipIndexer(request, &sink).Run();
  CHECK(index.status == GzipIndexStatus::kIoError && index.error_number == EBADF);
}

/// The blob comes in while it is read; what is not there yet reads as something else.
void TestArrival() {
  const Bytes plain = LayerLike(6 * kPieceSize, 6);
  const Bytes blob = Gzip(plain, {.level = 1});
  for (const size_t there : {size_t{0}, size_t{5}, blob.size() / 2, blob.size()}) {
    Bytes partial = blob;
    std::fill(partial.begin() + static_cast<ptrdiff_t>(there), partial.end(), 0xaa);
    const MemoryFile file(partial);
    GzipIndexRequest request = IndexRequest(file.fd(), blob.size(), kPieceSize);
    request.available = there;
    CollectingSink sink;
    GzipIndexer indexer(request, &sink);
    std::thread writer([&] {
      constexpr size_t kStep = 100'003;
      for (size_t done = there; done < blob.size(); done += kStep) {
        const size_t count = std::min(kStep, blob.size() - done);
        CHECK(pwrite(file.fd(), blob.data() + done, count, static_cast<off_t>(done)) ==
              static_cast<ssize_t>(count));
        indexer.Advance(done + count);
        // News that are late say nothing.
        indexer.Advance(done);
      }
    });
    const GzipIndexOutcome index = indexer.Run();
    writer.join();
    CHECK(index.status == GzipIndexStatus::kDone && sink.output == plain);
    CHECK(index.blob_digest == Sha256(blob.data(), blob.size()));
  }
}

void TestArrivalThatEnds() {
  const Bytes plain = LayerLike(6 * kPieceSize, 7);
  const Bytes blob = Gzip(plain, {.level = 1});
  const MemoryFile file(blob);
  GzipIndexRequest request = IndexRequest(file.fd(), blob.size(), kPieceSize);
  request.available = blob.size() / 2;
  CollectingSink sink;
  GzipIndexer waiting(request, &sink);
  std::thread other([&] {
    while (waiting.progress() == 0) usleep(100);
    // A sink that wants no more does not end it: the rest is still to be hashed.
    waiting.SkipOutput();
    usleep(1000);
    waiting.Abort();
  });
  GzipIndexOutcome index = waiting.Run();
  other.join();
  CHECK(index.status == GzipIndexStatus::kAborted && index.blob_digest.empty());

  GzipIndexer aborted(request, &sink);
  aborted.Abort();
  CHECK(aborted.Run().status == GzipIndexStatus::kAborted);
}

}  // namespace

void TestIndex() {
  TestShapes();
  TestPrograms();
  TestStretch();
  TestEnds();
  TestArrival();
  TestArrivalThatEnds();
}

}  // namespace ocimount::test
