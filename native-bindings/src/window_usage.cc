#include "window_usage.h"

#include <algorithm>
#include <array>
#include <memory>

namespace ocimount {
namespace {

constexpr unsigned kMaxCodeLength = 15;
constexpr unsigned kLiteralSymbols = 288;
constexpr unsigned kDistanceSymbols = 32;
constexpr unsigned kEndOfBlock = 256;

/// Reads bits, lowest first; beyond the end come zeros, and `overrun` says so.
class BitReader {
 public:
  BitReader(const uint8_t* bytes, size_t size, unsigned first_bit) : bytes_(bytes), size_(size) {
    if (first_bit > 0) Take(first_bit);
  }

  unsigned Peek(unsigned count) {
    Fill();
    return static_cast<unsigned>(bits_ & ((1u << count) - 1));
  }
  void Drop(unsigned count) {
    bits_ >>= count;
    available_ -= static_cast<int>(count);
  }
  unsigned Take(unsigned count) {
    const unsigned value = Peek(count);
    Drop(count);
    return value;
  }
  void DropToByte() { Drop(static_cast<unsigned>(available_) & 7); }
  bool overrun() const { return available_ < 0 || (padded_ > 0 && available_ < padded_); }

 private:
  void Fill() {
    while (available_ <= 48) {
      if (position_ < size_) {
        bits_ |= static_cast<uint64_t>(bytes_[position_++]) << available_;
      } else {
        padded_ += 8;
      }
      available_ += 8;
    }
  }

  const uint8_t* bytes_;
  size_t size_;
  size_t position_ = 0;
  uint64_t bits_ = 0;
  int available_ = 0;
  /// How many of the available bits were made up; they are always the last ones.
  int padded_ = 0;
};

/// A Huffman code as one table over as many bits as its longest code has: symbol << 4 | length, 0
/// where no code leads.
class Code {
 public:
  bool Build(const uint8_t* lengths, unsigned count) {
    std::array<unsigned, kMaxCodeLength + 1> of_length{};
    for (unsigned symbol = 0; symbol < count; ++symbol) ++of_length[lengths[symbol]];
    std::array<unsigned, kMaxCodeLength + 2> next{};
    unsigned code = 0;
    for (unsigned length = 1; length <= kMaxCodeLength; ++length) {
      next[length] = code;
      code += of_length[length];
      if (code > (1u << length)) return false;
      code <<= 1;
    }
    longest_ = kMaxCodeLength;
    while (longest_ > 1 && of_length[longest_] == 0) --longest_;
    const size_t size = 1u << longest_;
    std::fill_n(table_.begin(), size, 0);
    for (unsigned symbol = 0; symbol < count; ++symbol) {
      const unsigned length = lengths[symbol];
      if (length == 0) continue;
      unsigned reversed = 0;
      const unsigned value = next[length]++;
      for (unsigned bit = 0; bit < length; ++bit) {
        reversed |= (value >> bit & 1) << (length - 1 - bit);
      }
      for (unsigned at = reversed; at < size; at += 1u << length) {
        table_[at] = static_cast<uint16_t>(symbol << 4 | length);
      }
    }
    return true;
  }

  /// Gives the next symbol, or -1.
  int Decode(BitReader* reader) const {
    const unsigned entry = table_[reader->Peek(longest_)];
    if (entry == 0) return -1;
    reader->Drop(entry & 15);
    return static_cast<int>(entry >> 4);
  }

 private:
  unsigned longest_ = 1;
  std::array<uint16_t, 1u << kMaxCodeLength> table_;
};

constexpr std::array<uint16_t, 29> kLengthBase = {3,  4,  5,  6,  7,  8,  9,  10, 11,  13,
                                                  15, 17, 19, 23, 27, 31, 35, 43, 51,  59,
                                                  67, 83, 99, 115, 131, 163, 195, 227, 258};
constexpr std::array<uint8_t, 29> kLengthBits = {0, 0, 0, 0, 0, 0, 0, 0, 1, 1, 1, 1, 2, 2, 2,
                                                 2, 3, 3, 3, 3, 4, 4, 4, 4, 5, 5, 5, 5, 0};
constexpr std::array<uint16_t, 30> kDistanceBase = {
    1,   2,   3,   4,   5,   7,    9,    13,   17,   25,   33,   49,   65,    97,    129,
    193, 257, 385, 513, 769, 1025, 1537, 2049, 3073, 4097, 6145, 8193, 12289, 16385, 24577};

/// The codes of one block; on the heap, since a thread's stack may be small.
struct Codes {
  Code literals;
  Code distances;
};

bool ReadFixedCodes(Codes* codes) {
  std::array<uint8_t, kLiteralSymbols> lengths;
  for (unsigned symbol = 0; symbol < kLiteralSymbols; ++symbol) {
    lengths[symbol] = symbol < 144 ? 8 : symbol < 256 ? 9 : symbol < 280 ? 7 : 8;
  }
  std::array<uint8_t, kDistanceSymbols> distances;
  distances.fill(5);
  return codes->literals.Build(lengths.data(), kLiteralSymbols) &&
         codes->distances.Build(distances.data(), kDistanceSymbols);
}

bool ReadDynamicCodes(BitReader* reader, Codes* codes) {
  constexpr std::array<uint8_t, 19> kOrder = {16, 17, 18, 0, 8,  7, 9,  6, 10, 5,
                                              11, 4,  12, 3, 13, 2, 14, 1, 15};
  const unsigned literal_count = reader->Take(5) + 257;
  const unsigned distance_count = reader->Take(5) + 1;
  const unsigned length_count = reader->Take(4) + 4;
  std::array<uint8_t, 19> length_lengths{};
  for (unsigned index = 0; index < length_count; ++index) {
    length_lengths[kOrder[index]] = static_cast<uint8_t>(reader->Take(3));
  }
  // Borrowed: the literals' own code is built only when all lengths are known.
  if (!codes->literals.Build(length_lengths.data(), 19)) return false;
  std::array<uint8_t, kLiteralSymbols + kDistanceSymbols> lengths{};
  const unsigned total = literal_count + distance_count;
  if (literal_count > kLiteralSymbols) return false;
  for (unsigned index = 0; index < total;) {
    const int symbol = codes->literals.Decode(reader);
    if (symbol < 0 || reader->overrun()) return false;
    if (symbol < 16) {
      lengths[index++] = static_cast<uint8_t>(symbol);
      continue;
    }
    if (symbol == 16 && index == 0) return false;
    const uint8_t repeated = symbol == 16 ? lengths[index - 1] : 0;
    unsigned times = symbol == 16   ? 3 + reader->Take(2)
                     : symbol == 17 ? 3 + reader->Take(3)
                                    : 11 + reader->Take(7);
    if (index + times > total) return false;
    while (times-- > 0) lengths[index++] = repeated;
  }
  return codes->literals.Build(lengths.data(), literal_count) &&
         codes->distances.Build(lengths.data() + literal_count, distance_count);
}

/// Follows distances from the output behind the checkpoint back into the window.
class Tracker {
 public:
  explicit Tracker(WindowUsage* used) : used_(used) {}
  bool IsDone() const { return output_ >= kWindowSize; }
  void Pass(size_t count) { output_ += count; }
  void Copy(size_t distance, size_t length) {
    for (size_t index = 0; index < length && output_ + index < distance; ++index) {
      const size_t back = distance - output_ - index;
      if (back <= kWindowSize) used_->set(kWindowSize - back);
    }
    output_ += length;
  }

 private:
  WindowUsage* used_;
  size_t output_ = 0;
};

bool PassBlock(BitReader* reader, const Codes& codes, Tracker* tracker) {
  while (!tracker->IsDone()) {
    const int symbol = codes.literals.Decode(reader);
    if (symbol < 0 || reader->overrun()) return false;
    if (symbol == kEndOfBlock) return true;
    if (symbol < static_cast<int>(kEndOfBlock)) {
      tracker->Pass(1);
      continue;
    }
    const size_t length_index = static_cast<size_t>(symbol) - 257;
    if (length_index >= kLengthBase.size()) return false;
    const size_t length = kLengthBase[length_index] + reader->Take(kLengthBits[length_index]);
    const int distance_symbol = codes.distances.Decode(reader);
    if (distance_symbol < 0) return false;
    const size_t distance_index = static_cast<size_t>(distance_symbol);
    if (distance_index >= kDistanceBase.size()) return false;
    const unsigned extra = distance_index < 4 ? 0 : static_cast<unsigned>(distance_index) / 2 - 1;
    const size_t distance = kDistanceBase[distance_index] + reader->Take(extra);
    if (reader->overrun()) return false;
    tracker->Copy(distance, length);
  }
  return true;
}

bool PassStored(BitReader* reader, Tracker* tracker) {
  reader->DropToByte();
  const unsigned length = reader->Take(16);
  if ((reader->Take(16) ^ length) != 0xffff) return false;
  for (unsigned index = 0; index < length && !tracker->IsDone(); ++index) {
    reader->Take(8);
    if (reader->overrun()) return false;
    tracker->Pass(1);
  }
  return true;
}

}  // namespace

bool FindWindowUsage(const uint8_t* bytes, size_t size, unsigned first_bit, WindowUsage* used) {
  used->reset();
  BitReader reader(bytes, size, first_bit);
  Tracker tracker(used);
  const auto codes = std::make_unique<Codes>();
  for (bool is_last = false; !is_last && !tracker.IsDone();) {
    is_last = reader.Take(1) != 0;
    const unsigned type = reader.Take(2);
    if (reader.overrun()) return false;
    bool is_right = false;
    if (type == 0) {
      is_right = PassStored(&reader, &tracker);
    } else if (type == 1) {
      is_right = ReadFixedCodes(codes.get()) && PassBlock(&reader, *codes, &tracker);
    } else if (type == 2) {
      is_right = ReadDynamicCodes(&reader, codes.get()) && PassBlock(&reader, *codes, &tracker);
    }
    if (!is_right) return false;
  }
  return true;
}

}  // namespace ocimount
