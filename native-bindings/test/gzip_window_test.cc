// Windows, packed and unpacked, and what of them a span needs.

#include <zlib.h>

#include <algorithm>
#include <memory>

#include "gzip_fixture.h"
#include "window.h"

namespace ocimount::test {
namespace {

void CheckPacking(const Bytes& window, const WindowUsage& used) {
  Bytes packed = PackWindow(window.data(), used);
  CHECK(packed.empty() == used.none());
  if (packed.empty()) return;
  CHECK(packed.size() <= 3 + 4 * (kWindowSize / 2) + kWindowSize);
  Bytes unpacked(kWindowSize);
  CHECK(UnpackWindow(packed.data(), packed.size(), unpacked.data()));
  for (size_t at = 0; at < kWindowSize; ++at) CHECK(unpacked[at] == (used[at] ? window[at] : 0));
  for (size_t cut = 0; cut < packed.size(); cut += 1 + packed.size() / 50) {
    CHECK(!UnpackWindow(packed.data(), cut, unpacked.data()));
  }
  packed.push_back(0);
  CHECK(!UnpackWindow(packed.data(), packed.size(), unpacked.data()));
}

void TestPacking() {
  Random random{31};
  for (const uint32_t one_of : {1u, 2u, 3u, 100u, 20000u}) {
    for (const bool is_noise : {false, true}) {
      Bytes window = LayerLike(kWindowSize, one_of);
      if (is_noise) {
        for (uint8_t& byte : window) byte = static_cast<uint8_t>(random.Next());
      }
      const auto used = std::make_unique<WindowUsage>();
      for (size_t at = 0; at < kWindowSize; ++at) (*used)[at] = random.Below(one_of) == 0;
      CheckPacking(window, *used);
    }
  }
  const auto used = std::make_unique<WindowUsage>();
  CheckPacking(Bytes(kWindowSize, 1), *used);
  used->set(0);
  used->set(kWindowSize - 1);
  CheckPacking(Bytes(kWindowSize, 1), *used);
}

void TestUnpackingJunk() {
  Bytes window(kWindowSize);
  const auto unpacks = [&](const Bytes& packed) {
    return UnpackWindow(packed.data(), packed.size(), window.data());
  };
  CHECK(!unpacks({}));
  CHECK(!unpacks({2, 0, 0}));
  CHECK(!unpacks({0, 1, 0, 0, 0, 0, 0}));
  CHECK(unpacks({0, 1, 0, 0, 0, 0, 0, 9}) && window[0] == 9);
  CHECK(unpacks({0, 1, 0, 0xff, 0x7f, 0, 0, 9}) && window[kWindowSize - 1] == 9);
  CHECK(!unpacks({0, 1, 0, 0, 0x80, 0, 0, 9}));
  CHECK(!unpacks({0, 1, 0, 0, 0, 0xff, 0xff, 9}));
  CHECK(!unpacks({0, 0xff, 0xff, 0, 0, 0, 0, 9}));
  CHECK(!unpacks({1, 0xff, 0xff}));
}

/// Deflates `plain` with a window before it, and finds that exactly the right bytes matter.
void CheckUsage(const Bytes& window, const Bytes& plain, int level) {
  z_stream stream = {};
  CHECK(deflateInit2(&stream, level, Z_DEFLATED, -15, 8, Z_DEFAULT_STRATEGY) == Z_OK);
  CHECK(deflateSetDictionary(&stream, window.data(), kWindowSize) == Z_OK);
  Bytes packed(plain.size() + 1000);
  stream.next_in = const_cast<uint8_t*>(plain.data());
  stream.avail_in = static_cast<uInt>(plain.size());
  stream.next_out = packed.data();
  stream.avail_out = static_cast<uInt>(packed.size());
  CHECK(deflate(&stream, Z_FINISH) == Z_STREAM_END);
  packed = Slice(packed, 0, stream.total_out);
  deflateEnd(&stream);

  const auto used = std::make_unique<WindowUsage>();
  CHECK(FindWindowUsage(packed.data(), packed.size(), 0, used.get()));
  const auto inflate_with = [&](const Bytes& dictionary) {
    z_stream back = {};
    CHECK(inflateInit2(&back, -15) == Z_OK);
    CHECK(inflateSetDictionary(&back, dictionary.data(), kWindowSize) == Z_OK);
    Bytes output(plain.size());
    back.next_in = packed.data();
    back.avail_in = static_cast<uInt>(packed.size());
    back.next_out = output.data();
    back.avail_out = static_cast<uInt>(output.size());
    inflate(&back, Z_FINISH);
    inflateEnd(&back);
    return output;
  };
  Bytes sparse = window;
  for (size_t at = 0; at < kWindowSize; ++at) {
    if (!(*used)[at]) sparse[at] = static_cast<uint8_t>(~sparse[at]);
  }
  CHECK(inflate_with(sparse) == plain);
  // Each byte that is said to be used is.
  Random random{33};
  for (int round = 0; round < 20 && used->any(); ++round) {
    size_t at = random.Below(kWindowSize);
    while (!(*used)[at]) at = (at + 1) % kWindowSize;
    Bytes other = window;
    other[at] ^= 1;
    CHECK(inflate_with(other) != plain);
  }
  // Cut short, nothing is known.
  if (plain.size() < kWindowSize) {
    CHECK(!FindWindowUsage(packed.data(), packed.size() / 2, 0, used.get()));
  }
}

void TestUsage() {
  for (uint64_t seed = 40; seed < 46; ++seed) {
    for (const size_t size : {size_t{3000}, size_t{100000}}) {
      const Bytes bytes = LayerLike(kWindowSize + size, seed);
      for (const int level : {0, 1, 6, 9}) {
        CheckUsage(Slice(bytes, 0, kWindowSize), Slice(bytes, kWindowSize, bytes.size()), level);
      }
    }
  }
}

}  // namespace

void TestWindows() {
  TestPacking();
  TestUnpackingJunk();
  TestUsage();
}

}  // namespace ocimount::test
