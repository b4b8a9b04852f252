#include "gzip_fixture.h"

#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>
#include <zlib.h>

#include <algorithm>

#include "sha_digest.h"

namespace ocimount::test {

Bytes LayerLike(size_t size, uint64_t seed) {
  Random random{seed};
  Bytes bytes;
  bytes.reserve(size);
  while (bytes.size() < size) {
    const size_t run = std::min<size_t>(size - bytes.size(), 1 + random.Below(20000));
    const uint32_t kind = random.Below(5);
    const size_t back = bytes.empty() ? 0 : 1 + random.Below(std::min<uint32_t>(bytes.size(), 32768));
    for (size_t index = 0; index < run; ++index) {
      uint8_t byte = 0;
      if (kind == 1) byte = static_cast<uint8_t>(random.Next());
      if (kind == 2) byte = static_cast<uint8_t>("etaoin shrdlu\n/"[random.Below(15)]);
      if (kind > 2 && back > 0) byte = random.Below(30) == 0 ? 'x' : bytes[bytes.size() - back];
      bytes.push_back(byte);
    }
  }
  return bytes;
}

Bytes Concat(const std::vector<Bytes>& parts) {
  Bytes all;
  for (const Bytes& part : parts) all.insert(all.end(), part.begin(), part.end());
  return all;
}

Bytes Slice(const Bytes& bytes, size_t begin, size_t end) {
  return Bytes(bytes.begin() + static_cast<long>(std::min(begin, bytes.size())),
               bytes.begin() + static_cast<long>(std::min(end, bytes.size())));
}

Bytes Sha256(const uint8_t* bytes, size_t size) {
  ShaDigest hash(HashKind::kSha256);
  hash.Update(bytes, size);
  return hash.Finish();
}

Bytes Gzip(const Bytes& plain, const GzipShape& shape) {
  z_stream stream = {};
  CHECK(deflateInit2(&stream, shape.level, Z_DEFLATED, shape.window_bits + 16, shape.memory_level,
                     shape.strategy) == Z_OK);
  gz_header header = {};
  Bytes extra(777, 0xee);
  char name[] = "layer.tar";
  char comment[] = "a comment";
  if (shape.flags & 4) {
    header.extra = extra.data();
    header.extra_len = static_cast<uInt>(extra.size());
  }
  if (shape.flags & 8) header.name = reinterpret_cast<Bytef*>(name);
  if (shape.flags & 16) header.comment = reinterpret_cast<Bytef*>(comment);
  header.hcrc = shape.flags & 2;
  if (shape.flags != 0) CHECK(deflateSetHeader(&stream, &header) == Z_OK);
  Bytes blob(deflateBound(&stream, plain.size()) + 4096 + plain.size() / 4);
  stream.next_out = blob.data();
  stream.avail_out = static_cast<uInt>(blob.size());
  const size_t step = shape.flush_every == 0 ? plain.size() : shape.flush_every;
  for (size_t at = 0; at < plain.size(); at += step) {
    stream.next_in = const_cast<uint8_t*>(plain.data() + at);
    stream.avail_in = static_cast<uInt>(std::min(step, plain.size() - at));
    CHECK(deflate(&stream, shape.flush_every == 0 ? Z_NO_FLUSH : Z_FULL_FLUSH) == Z_OK);
  }
  CHECK(deflate(&stream, Z_FINISH) == Z_STREAM_END);
  blob.resize(blob.size() - stream.avail_out);
  deflateEnd(&stream);
  return blob;
}

Bytes GzipMembers(const Bytes& plain, size_t size) {
  std::vector<Bytes> members;
  for (size_t at = 0; at < plain.size(); at += size) {
    members.push_back(Gzip(Slice(plain, at, at + size), {.flags = 4}));
  }
  return Concat(members);
}

Bytes Filter(const std::string& command, const Bytes& plain) {
  const MemoryFile input(plain);
  const MemoryFile output;
  const std::string line = command + " </proc/" + std::to_string(getpid()) + "/fd/" +
                           std::to_string(input.fd()) + " >/proc/" + std::to_string(getpid()) +
                           "/fd/" + std::to_string(output.fd());
  CHECK(system(line.c_str()) == 0);
  return output.Get();
}

bool Gunzip(const Bytes& blob, Bytes* plain) {
  plain->clear();
  z_stream stream = {};
  CHECK(inflateInit2(&stream, 15 + 16) == Z_OK);
  stream.next_in = const_cast<uint8_t*>(blob.data());
  stream.avail_in = static_cast<uInt>(blob.size());
  Bytes buffer(1 << 16);
  bool is_right = false;
  for (;;) {
    stream.next_out = buffer.data();
    stream.avail_out = static_cast<uInt>(buffer.size());
    const int result = inflate(&stream, Z_NO_FLUSH);
    plain->insert(plain->end(), buffer.data(), stream.next_out);
    if (result == Z_STREAM_END) {
      const uint8_t* const rest = stream.next_in;
      const uint8_t* const end = rest + stream.avail_in;
      is_right = std::all_of(rest, end, [](uint8_t byte) { return byte == 0; });
      if (rest == end || *rest == 0) break;
      inflateReset(&stream);
    } else if (result != Z_OK) {
      is_right = false;
      break;
    }
  }
  inflateEnd(&stream);
  return is_right;
}

MemoryFile::MemoryFile(const Bytes& bytes) : fd_(memfd_create("test", MFD_CLOEXEC)) {
  CHECK(fd_ >= 0);
  Set(bytes);
}

MemoryFile::~MemoryFile() { close(fd_); }

void MemoryFile::Set(const Bytes& bytes) {
  CHECK(ftruncate(fd_, 0) == 0);
  CHECK(pwrite(fd_, bytes.data(), bytes.size(), 0) == static_cast<ssize_t>(bytes.size()));
}

Bytes MemoryFile::Get() const {
  struct stat status;
  CHECK(fstat(fd_, &status) == 0);
  Bytes bytes(static_cast<size_t>(status.st_size));
  CHECK(pread(fd_, bytes.data(), bytes.size(), 0) == status.st_size);
  return bytes;
}

bool CollectingSink::OnOutput(const uint8_t* bytes, size_t size, uint64_t device_offset) {
  CHECK(device_offset == output.size() && size <= kPieceSize && calls < limit);
  output.insert(output.end(), bytes, bytes + size);
  ++calls;
  if (on_call) on_call();
  return calls < limit;
}

GzipIndexRequest IndexRequest(int fd, uint64_t length, uint64_t span_size) {
  return {.fd = fd, .offset = 0, .length = length, .span_size = span_size, .max_output = 1ull << 40};
}

size_t SpanCount(const GzipIndexOutcome& index) { return index.spans.size() / kSpanRecordSize; }

SpanRecord SpanAt(const GzipIndexOutcome& index, size_t number) {
  SpanRecord span;
  CHECK(DecodeSpanRecord(index.spans.data() + number * kSpanRecordSize, &span));
  return span;
}

uint64_t PieceCount(const GzipIndexOutcome& index) {
  return (index.device_size + kPieceSize - 1) / kPieceSize;
}

FillRequest RequestFor(const GzipIndexOutcome& index, int fd, uint64_t blob_length,
                       uint64_t first_piece, size_t count) {
  const uint64_t start = first_piece * kPieceSize;
  const uint64_t end = std::min(start + count * kPieceSize, index.device_size);
  const size_t spans = SpanCount(index);
  size_t first = 0;
  while (first + 1 < spans && SpanAt(index, first + 1).device_offset <= start) ++first;
  size_t behind = first + 1;
  while (behind < spans && SpanAt(index, behind).device_offset < end) ++behind;
  const SpanRecord record = SpanAt(index, first);
  FillRequest request;
  request.blob_fd = fd;
  request.blob_length = blob_length;
  request.spans = index.spans.data() + first * kSpanRecordSize;
  request.spans_size = (behind - first) * kSpanRecordSize;
  request.window = index.windows.data() + record.window_offset;
  request.window_size = record.window_length;
  request.compressed_end = behind == spans ? blob_length : SpanAt(index, behind).compressed_offset;
  request.bits_end = behind == spans ? 0 : SpanAt(index, behind).bits;
  request.device_size = index.device_size;
  request.first_piece = first_piece;
  request.piece_digests = index.piece_digests.data() + first_piece * kDigestSize;
  request.piece_count = count;
  return request;
}

}  // namespace ocimount::test
