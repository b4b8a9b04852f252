// A span: a stretch of a gzip blob that can be inflated on its own, from a checkpoint at its start
// to the next one. Its record has 64 bytes, little-endian:
//
//    0  8  deviceOffset       address of the first byte that the span makes
//    8  8  compressedOffset   first byte of the blob that it needs
//   16  4  windowOffset       its packed window in `windows`, see window.h
//   20  4  windowLength       0: it needs none
//   24  1  kind               0: a member's header stands at compressedOffset; 1: inside a deflate
//                             stream
//   25  1  bits               bits of the byte at compressedOffset that the span before has used
//   26  6  zero
//   32 32  SHA-256 of the blob's bytes from compressedOffset to the next span's, and one more where
//          that one's `bits` is not 0, since they share that byte; the last span goes to the end of
//          the blob
#pragma once

#include <array>
#include <cstdint>
#include <cstring>

namespace ocimount {

constexpr size_t kSpanRecordSize = 64;
constexpr size_t kDigestSize = 32;
/// Devices are hashed and stored in pieces of this size; the last one is shorter.
constexpr uint64_t kPieceSize = 1024 * 1024;
/// Deflate refers back no further.
constexpr size_t kWindowSize = 32768;

enum class SpanKind : uint8_t { kMember = 0, kDeflate = 1 };

struct SpanRecord {
  uint64_t device_offset = 0;
  uint64_t compressed_offset = 0;
  uint32_t window_offset = 0;
  uint32_t window_length = 0;
  SpanKind kind = SpanKind::kMember;
  uint8_t bits = 0;
  std::array<uint8_t, kDigestSize> digest{};
};

inline void StoreLittle(uint8_t* target, uint64_t value, size_t bytes) {
  for (size_t index = 0; index < bytes; ++index) {
    target[index] = static_cast<uint8_t>(value >> (8 * index));
  }
}

inline uint64_t LoadLittle(const uint8_t* source, size_t bytes) {
  uint64_t value = 0;
  for (size_t index = 0; index < bytes; ++index) {
    value |= static_cast<uint64_t>(source[index]) << (8 * index);
  }
  return value;
}

inline void EncodeSpanRecord(const SpanRecord& span, uint8_t* target) {
  memset(target, 0, kSpanRecordSize);
  StoreLittle(target, span.device_offset, 8);
  StoreLittle(target + 8, span.compressed_offset, 8);
  StoreLittle(target + 16, span.window_offset, 4);
  StoreLittle(target + 20, span.window_length, 4);
  target[24] = static_cast<uint8_t>(span.kind);
  target[25] = span.bits;
  memcpy(target + 32, span.digest.data(), kDigestSize);
}

/// Gives false for what EncodeSpanRecord never writes.
inline bool DecodeSpanRecord(const uint8_t* source, SpanRecord* span) {
  if (source[24] > 1 || source[25] > 7 || LoadLittle(source + 26, 6) != 0) return false;
  span->device_offset = LoadLittle(source, 8);
  span->compressed_offset = LoadLittle(source + 8, 8);
  span->window_offset = static_cast<uint32_t>(LoadLittle(source + 16, 4));
  span->window_length = static_cast<uint32_t>(LoadLittle(source + 20, 4));
  span->kind = static_cast<SpanKind>(source[24]);
  span->bits = source[25];
  memcpy(span->digest.data(), source + 32, kDigestSize);
  return span->kind == SpanKind::kDeflate || span->bits == 0;
}

}  // namespace ocimount
