#include "sha256_pair.h"

#include <cstring>

#if defined(__x86_64__)
#include <cpuid.h>
#include <immintrin.h>
#endif

namespace ocimount {

std::vector<uint8_t> Sha256Pair::AddPiece(const uint8_t* bytes, size_t size) {
  const size_t rest = size % kBlockSize;
  State piece;
  Compress(&stream_, &piece, bytes, size / kBlockSize);
  size_ += size;
  memcpy(rest_.data(), bytes + size - rest, rest);
  return Digest(piece, rest_.data(), size);
}

std::vector<uint8_t> Sha256Pair::Finish() { return Digest(stream_, rest_.data(), size_); }

/// Pads the last bytes and gives the digest of all `size` bytes (FIPS 180-4, 5.1.1).
std::vector<uint8_t> Sha256Pair::Digest(State state, const uint8_t* rest, uint64_t size) {
  constexpr size_t kLengthSize = 8;
  std::array<uint8_t, 2 * kBlockSize> padded{};
  const size_t rest_size = size % kBlockSize;
  memcpy(padded.data(), rest, rest_size);
  padded[rest_size] = 0x80;
  const size_t blocks = rest_size < kBlockSize - kLengthSize ? 1 : 2;
  for (size_t index = 0; index < kLengthSize; ++index) {
    padded[blocks * kBlockSize - 1 - index] = static_cast<uint8_t>(size * 8 >> (8 * index));
  }
  State unused;
  Compress(&state, &unused, padded.data(), blocks);

  const auto& [f, e, b, a] = state.abef;
  const auto& [h, g, d, c] = state.cdgh;
  std::vector<uint8_t> digest;
  for (const uint32_t word : {a, b, c, d, e, f, g, h}) {
    for (const int shift : {24, 16, 8, 0}) digest.push_back(static_cast<uint8_t>(word >> shift));
  }
  return digest;
}

#if defined(__x86_64__)

namespace {

alignas(16) constexpr std::array<uint32_t, 64> kRoundConstants = {
    0x428a2f98, 0x71374491, 0xb5c0fbcf, 0xe9b5dba5, 0x3956c25b, 0x59f111f1, 0x923f82a4, 0xab1c5ed5,
    0xd807aa98, 0x12835b01, 0x243185be, 0x550c7dc3, 0x72be5d74, 0x80deb1fe, 0x9bdc06a7, 0xc19bf174,
    0xe49b69c1, 0xefbe4786, 0x0fc19dc6, 0x240ca1cc, 0x2de92c6f, 0x4a7484aa, 0x5cb0a9dc, 0x76f988da,
    0x983e5152, 0xa831c66d, 0xb00327c8, 0xbf597fc7, 0xc6e00bf3, 0xd5a79147, 0x06ca6351, 0x14292967,
    0x27b70a85, 0x2e1b2138, 0x4d2c6dfc, 0x53380d13, 0x650a7354, 0x766a0abb, 0x81c2c92e, 0x92722c85,
    0xa2bfe8a1, 0xa81a664b, 0xc24b8b70, 0xc76c51a3, 0xd192e819, 0xd6990624, 0xf40e3585, 0x106aa070,
    0x19a4c116, 0x1e376c08, 0x2748774c, 0x34b0bcb5, 0x391c0cb3, 0x4ed8aa4a, 0x5b9cca4f, 0x682e6ff3,
    0x748f82ee, 0x78a5636f, 0x84c87814, 0x8cc70208, 0x90befffa, 0xa4506ceb, 0xbef9a3f7, 0xc67178f2};

}  // namespace

bool Sha256Pair::IsSupported() {
  // Not all compilers have a name for the first.
  unsigned a = 0, b = 0, c = 0, d = 0;
  const bool has_sha = __get_cpuid_count(7, 0, &a, &b, &c, &d) != 0 && (b & bit_SHA) != 0;
  return has_sha && __builtin_cpu_supports("sse4.1") && __builtin_cpu_supports("ssse3");
}

__attribute__((target("sha,sse4.1,ssse3"))) void Sha256Pair::Compress(State* first, State* second,
                                                                      const uint8_t* blocks,
                                                                      size_t count) {
  const auto load = [](const void* at) __attribute__((target("sse4.1"))) {
    return _mm_loadu_si128(static_cast<const __m128i*>(at));
  };
  const __m128i kBigEndian = _mm_set_epi64x(0x0c0d0e0f08090a0b, 0x0405060700010203);
  __m128i abef1 = load(&first->abef);
  __m128i cdgh1 = load(&first->cdgh);
  __m128i abef2 = load(&second->abef);
  __m128i cdgh2 = load(&second->cdgh);
  for (; count > 0; --count, blocks += kBlockSize) {
    const __m128i before[] = {abef1, cdgh1, abef2, cdgh2};
    // The last 16 words of the message schedule; word 4 n is in words[n % 4].
    __m128i words[4];
#pragma GCC unroll 16
    for (size_t n = 0; n < 16; ++n) {
      __m128i& now = words[n % 4];
      if (n < 4) {
        now = _mm_shuffle_epi8(load(blocks + 16 * n), kBigEndian);
      } else {
        const __m128i& last = words[(n + 3) % 4];
        const __m128i middle = _mm_alignr_epi8(last, words[(n + 2) % 4], 4);
        now = _mm_sha256msg1_epu32(now, words[(n + 1) % 4]);
        now = _mm_sha256msg2_epu32(_mm_add_epi32(now, middle), last);
      }
      const __m128i low = _mm_add_epi32(now, load(&kRoundConstants[4 * n]));
      const __m128i high = _mm_shuffle_epi32(low, 0x0e);
      cdgh1 = _mm_sha256rnds2_epu32(cdgh1, abef1, low);
      cdgh2 = _mm_sha256rnds2_epu32(cdgh2, abef2, low);
      abef1 = _mm_sha256rnds2_epu32(abef1, cdgh1, high);
      abef2 = _mm_sha256rnds2_epu32(abef2, cdgh2, high);
    }
    abef1 = _mm_add_epi32(abef1, before[0]);
    cdgh1 = _mm_add_epi32(cdgh1, before[1]);
    abef2 = _mm_add_epi32(abef2, before[2]);
    cdgh2 = _mm_add_epi32(cdgh2, before[3]);
  }
  const auto store = [](void* at, __m128i value) __attribute__((target("sse4.1"))) {
    _mm_storeu_si128(static_cast<__m128i*>(at), value);
  };
  store(&first->abef, abef1);
  store(&first->cdgh, cdgh1);
  store(&second->abef, abef2);
  store(&second->cdgh, cdgh2);
}

#else

bool Sha256Pair::IsSupported() { return false; }

void Sha256Pair::Compress(State*, State*, const uint8_t*, size_t) {}

#endif

}  // namespace ocimount
