#include "crc32.h"

#include <zlib.h>

#if defined(__x86_64__)
#include <immintrin.h>
#endif

namespace ocimount {

#if defined(__x86_64__)

namespace {

#define CARRYLESS __attribute__((target("pclmul,sse4.1")))

constexpr size_t kLane = 16;
constexpr size_t kLanes = 4;

CARRYLESS __m128i Load(const uint8_t* at) {
  return _mm_loadu_si128(reinterpret_cast<const __m128i*>(at));
}

/// Gives 16 bytes with the remainder that `lane` would have so many bytes further on, as `factors`
/// say, and with `next` added, the bytes that stand there.
CARRYLESS __m128i Fold(__m128i lane, __m128i factors, __m128i next) {
  const __m128i low = _mm_clmulepi64_si128(lane, factors, 0x00);
  const __m128i high = _mm_clmulepi64_si128(lane, factors, 0x11);
  return _mm_xor_si128(_mm_xor_si128(low, high), next);
}

}  // namespace

bool CanFoldCrc32() {
  return __builtin_cpu_supports("pclmul") && __builtin_cpu_supports("sse4.1");
}

// "Fast CRC Computation for Generic Polynomials Using PCLMULQDQ Instruction", Intel, 2009. Instead
// of its last reduction zlib takes the remainder of the 16 bytes that are left.
CARRYLESS uint32_t FoldCrc32(uint32_t crc, const uint8_t* bytes, size_t size) {
  if (size < kLanes * kLane) return static_cast<uint32_t>(crc32_z(crc, bytes, size));
  // Of x^(n - 32) and x^(n + 32) modulo the polynomial, bits in reverse: n is 512 and 128.
  const __m128i by_four_lanes = _mm_set_epi64x(0x1c6e41596, 0x154442bd4);
  const __m128i by_one_lane = _mm_set_epi64x(0x0ccaa009e, 0x1751997d0);
  __m128i lanes[kLanes];
  for (size_t index = 0; index < kLanes; ++index) lanes[index] = Load(bytes + index * kLane);
  lanes[0] = _mm_xor_si128(lanes[0], _mm_cvtsi32_si128(static_cast<int>(~crc)));
  for (;;) {
    bytes += kLanes * kLane;
    size -= kLanes * kLane;
    if (size < kLanes * kLane) break;
    for (size_t index = 0; index < kLanes; ++index) {
      lanes[index] = Fold(lanes[index], by_four_lanes, Load(bytes + index * kLane));
    }
  }
  __m128i lane = lanes[0];
  for (size_t index = 1; index < kLanes; ++index) lane = Fold(lane, by_one_lane, lanes[index]);
  uint8_t left[kLane];
  _mm_storeu_si128(reinterpret_cast<__m128i*>(left), lane);
  // What was inverted at the start is in the lane already; zlib inverts it again.
  const uLong folded = crc32_z(0xffffffff, left, kLane);
  return static_cast<uint32_t>(crc32_z(folded, bytes, size));
}

#else

bool CanFoldCrc32() { return false; }

uint32_t FoldCrc32(uint32_t, const uint8_t*, size_t) { return 0; }

#endif

}  // namespace ocimount
