// What the tests of the gzip core share: made-up layers, gzip blobs of every shape, files in
// memory, and zlib's own inflate as what is right.
#pragma once

#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <functional>
#include <string>
#include <vector>

#include "gzip_fill.h"
#include "gzip_index.h"

#define CHECK(condition)                                                      \
  do {                                                                        \
    if (!(condition)) {                                                       \
      fprintf(stderr, "%s:%d: failed: %s\n", __FILE__, __LINE__, #condition); \
      abort();                                                                \
    }                                                                         \
  } while (false)

namespace ocimount::test {

using Bytes = std::vector<uint8_t>;

struct Random {
  uint64_t state;
  uint32_t Next() {
    state = state * 6364136223846793005u + 1442695040888963407u;
    return static_cast<uint32_t>(state >> 33);
  }
  uint32_t Below(uint32_t bound) { return Next() % bound; }
};

/// Text, repeated stretches, zeros and noise, as a layer has them.
Bytes LayerLike(size_t size, uint64_t seed);
Bytes Concat(const std::vector<Bytes>& parts);
Bytes Slice(const Bytes& bytes, size_t begin, size_t end);
Bytes Sha256(const uint8_t* bytes, size_t size);

struct GzipShape {
  int level = 6;
  int strategy = 0;
  int window_bits = 15;
  int memory_level = 8;
  /// Of RFC 1952: any of FHCRC 2, FEXTRA 4, FNAME 8, FCOMMENT 16.
  int flags = 0;
  /// Bytes of input after which the stream is flushed fully; 0 for never.
  size_t flush_every = 0;
};
/// One member.
Bytes Gzip(const Bytes& plain, const GzipShape& shape = {});
/// A member for each `size` bytes.
Bytes GzipMembers(const Bytes& plain, size_t size);
/// What a program writes to its standard output for `plain` on its standard input.
Bytes Filter(const std::string& command, const Bytes& plain);
/// What all members hold, by zlib in one thread. Gives false for what is not gzip up to its end or
/// its padding.
bool Gunzip(const Bytes& blob, Bytes* plain);

/// A file without a name.
class MemoryFile {
 public:
  explicit MemoryFile(const Bytes& bytes = {});
  MemoryFile(const MemoryFile&) = delete;
  MemoryFile& operator=(const MemoryFile&) = delete;
  ~MemoryFile();
  int fd() const { return fd_; }
  void Set(const Bytes& bytes);
  Bytes Get() const;

 private:
  int fd_;
};

/// Collects the output; refuses more from `limit` calls on.
class CollectingSink : public OutputSink {
 public:
  bool OnOutput(const uint8_t* bytes, size_t size, uint64_t device_offset) override;
  Bytes output;
  size_t calls = 0;
  size_t limit = SIZE_MAX;
  std::function<void()> on_call;
};

GzipIndexRequest IndexRequest(int fd, uint64_t length, uint64_t span_size);
size_t SpanCount(const GzipIndexOutcome& index);
SpanRecord SpanAt(const GzipIndexOutcome& index, size_t number);
/// What is needed to make pieces again; points into `index`.
FillRequest RequestFor(const GzipIndexOutcome& index, int fd, uint64_t blob_length, uint64_t first_piece,
                       size_t count);
uint64_t PieceCount(const GzipIndexOutcome& index);

void TestChecksums();
void TestIndex();
void TestFill();
void TestDamage();
void TestWindows();
/// Prints times and sizes for a gzip file.
int Measure(const char* path);

}  // namespace ocimount::test
