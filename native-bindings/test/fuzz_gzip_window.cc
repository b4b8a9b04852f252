// libFuzzer: unpacking a window, and what FindWindowUsage makes of deflate, which zlib has to agree
// with: changing the bytes that it calls unused must not change the first 32 KiB that come out.

#include <zlib.h>

#include <algorithm>
#include <memory>

#include "gzip_fixture.h"
#include "window.h"

namespace {

using namespace ocimount;
using namespace ocimount::test;

Bytes InflateWith(const uint8_t* bytes, size_t size, unsigned first_bit, const Bytes& window) {
  z_stream stream = {};
  CHECK(inflateInit2(&stream, -15) == Z_OK);
  CHECK(inflateSetDictionary(&stream, window.data(), kWindowSize) == Z_OK);
  if (first_bit > 0) {
    CHECK(inflatePrime(&stream, static_cast<int>(8 - first_bit), bytes[0] >> first_bit) == Z_OK);
    ++bytes;
    --size;
  }
  Bytes output(kWindowSize);
  stream.next_in = const_cast<uint8_t*>(bytes);
  stream.avail_in = static_cast<uInt>(size);
  stream.next_out = output.data();
  stream.avail_out = static_cast<uInt>(output.size());
  inflate(&stream, Z_SYNC_FLUSH);
  output.resize(output.size() - stream.avail_out);
  inflateEnd(&stream);
  return output;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  if (size < 2) return 0;
  Bytes unpacked(kWindowSize);
  UnpackWindow(data, size, unpacked.data());

  const unsigned first_bit = data[0] & 7;
  ++data;
  --size;
  const auto used = std::make_unique<WindowUsage>();
  if (!FindWindowUsage(data, size, first_bit, used.get())) return 0;
  Random random{size};
  Bytes window(kWindowSize);
  for (uint8_t& byte : window) byte = static_cast<uint8_t>(random.Next());
  const Bytes packed = PackWindow(window.data(), *used);
  if (!packed.empty()) CHECK(UnpackWindow(packed.data(), packed.size(), unpacked.data()));
  if (packed.empty()) std::fill(unpacked.begin(), unpacked.end(), uint8_t{0});
  CHECK(InflateWith(data, size, first_bit, window) == InflateWith(data, size, first_bit, unpacked));
  return 0;
}
