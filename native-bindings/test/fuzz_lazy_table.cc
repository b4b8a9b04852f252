// libFuzzer: a table of contents of any bytes, laid out within limits of any kind; what is made of it keeps to them and to the document.

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "lazy_entry.h"
#include "lazy_table.h"
#include "span_record.h"

namespace {

using namespace ocimount;  // NOLINT

constexpr double kMaxInteger = 999999999999999;
constexpr uint64_t kMaxSeconds = 253402300799;
constexpr size_t kRecordSize = 64;
/** In front of the document, see RequestOf(). */
constexpr size_t kLead = 13;

void Require(bool condition) {
  if (!condition) __builtin_trap();
}

/** What is asked for depends on a few bytes; without any bit of the first one it is as for a layer of zstd:chunked. */
LazyTableRequest RequestOf(const uint8_t* lead, std::string_view json) {
  const bool ends_early = lead[0] & 1, has_unlisted = lead[0] & 2, is_small = lead[0] & 4;
  const bool is_limited = lead[0] & 8, is_endless = lead[0] & 16;
  LazyLayout layout = {.alignment = 512,
                       .large = 1 << 19,
                       .piece_size = 1 << 20,
                       .max_device = uint64_t{1} << 40,
                       .max_entries = 1000000,
                       .max_chunks = 4000000,
                       .max_chunk = 64 << 20,
                       .max_chunk_stored = 66 << 20,
                       .max_piece_cost = 256 << 20,
                       .chunk_cost = 32 << 10};
  if (is_small) {
    layout.alignment = 1 + lead[1] % 32u;
    layout.piece_size = 1 + lead[2];
    layout.large = lead[3];
  }
  if (is_limited) {
    layout.max_device = 64 * lead[4];
    layout.max_entries = lead[5] % 16u;
    layout.max_chunks = lead[6] % 16u;
    layout.max_chunk = layout.max_chunk_stored = 64 * lead[7];
    layout.max_piece_cost = 64 * lead[8];
    layout.chunk_cost = lead[8] % 8u;
  }
  const uint64_t content_end = is_endless ? uint64_t{1} << 50 : LoadLittle(lead + 9, 2);
  LazyTableRequest request = {.json = json,
                              .layout = layout,
                              .ends_early = ends_early,
                              .blob_size = content_end + lead[11],
                              .content_end = content_end,
                              .unlisted = std::nullopt};
  if (has_unlisted) {
    request.unlisted = {.offset = content_end + lead[12] % 8u,
                        .inner_offset = lead[12],
                        .size = lead[12],
                        .sha256 = std::string(64, 'a')};
  }
  return request;
}

/** What the entries so far account for. */
struct Sums {
  uint64_t names = 0;
  uint64_t segments = 0;
  uint64_t stored = 0;
  uint64_t text_end = 0;
  uint64_t data_end = 0;
};

/** An entry whose text begins there; gives where that ends, as far as it is known. */
uint64_t CheckText(const LazyTable& table, std::string_view json, uint64_t at, uint64_t length) {
  Require(at >= table.array_at && at < table.array_end && json[at] == '{');
  if (length == 0) return at + 1;
  Require(length > 1 && at + length <= table.array_end && json[at + length - 1] == '}');
  return at + length;
}

/** Gives how many bytes of a file are no hole. */
uint64_t CheckSegments(const double* segment, size_t count, uint64_t size, uint64_t device_at) {
  uint64_t file_at = 0, stored = 0;
  for (size_t index = 0; index < count; index++, segment += 3) {
    const auto file_offset = static_cast<uint64_t>(segment[0]);
    const auto length = static_cast<uint64_t>(segment[2]);
    Require(file_offset >= file_at && length > 0);
    // Nothing of the device is left out between two.
    Require(static_cast<uint64_t>(segment[1]) == device_at + stored);
    file_at = file_offset + length;
    stored += length;
  }
  Require(file_at <= size && stored < size);
  return stored;
}

void CheckEntry(const LazyTable& table, const LazyTableRequest& request, const double* numbers, Sums* sums) {
  const auto number = [numbers](LazyNumber place) { return static_cast<uint64_t>(numbers[place]); };
  const auto type = static_cast<LazyType>(number(kLazyType));
  const bool is_left = number(kLazyTextLength) > 0;
  const uint64_t size = number(kLazySize), data_at = number(kLazyDataOffset);
  Require(number(kLazyTextAt) >= sums->text_end);
  sums->text_end = CheckText(table, request.json, number(kLazyTextAt), number(kLazyTextLength));
  Require(type > LazyType::kNone && type <= LazyType::kChunk);
  if (is_left) {
    Require(number(kLazyNameLength) == 0 && number(kLazyLinkLength) == 0);
  } else {
    Require(type != LazyType::kChunk);
    Require(number(kLazySeconds) <= kMaxSeconds && number(kLazyNanoseconds) < 1000000000);
  }
  sums->names += number(kLazyNameLength) + number(kLazyLinkLength);
  if (type == LazyType::kChunk) {
    Require(data_at == 0 && number(kLazySegments) == 0);
    return;
  }
  Require(data_at >= sums->data_end && data_at <= table.device_size);
  sums->data_end = data_at;
  if (type != LazyType::kReg || size == 0) {
    Require(number(kLazySegments) == 0);
    return;
  }
  const LazyLayout& layout = request.layout;
  Require(data_at % (size >= layout.large ? layout.piece_size : layout.alignment) == 0);
  uint64_t stored = size;
  if (number(kLazySegments) > 0) {
    const uint64_t count = number(kLazySegments) - 1;
    Require(sums->segments + count <= table.segments.size() / 3);
    stored = CheckSegments(table.segments.data() + 3 * sums->segments, count, size, data_at);
    sums->segments += count;
  }
  sums->stored += stored;
  sums->data_end += stored;
  Require(sums->data_end <= table.device_size);
}

void CheckNumbers(const std::vector<double>& numbers) {
  Require(std::all_of(numbers.begin(), numbers.end(), [](double number) {
    return number >= 0 && number <= kMaxInteger && number == std::floor(number);
  }));
}

/** Counts what the pieces of a device take to be made: for each chunk so much, and what is unpacked of each member. */
class PieceCosts {
 public:
  explicit PieceCosts(const LazyLayout& layout) : layout_(layout) {}

  void Spend(uint64_t piece, uint64_t member, uint64_t unpacked) {
    Cost& cost = costs_[piece];
    if (cost.member != member) cost = {.member = member, .unpacked = 0, .sum = cost.sum};
    cost.sum += layout_.chunk_cost + std::max(unpacked, cost.unpacked) - cost.unpacked;
    cost.unpacked = std::max(unpacked, cost.unpacked);
    most_ = std::max(most_, cost.sum);
  }
  uint64_t most() const { return most_; }

 private:
  struct Cost {
    uint64_t member = 0;
    uint64_t unpacked = 0;
    uint64_t sum = 0;
  };

  const LazyLayout& layout_;
  std::map<uint64_t, Cost> costs_;
  uint64_t most_ = 0;
};

/** Lowers limits to what the records take. */
void CheckRecords(const LazyTable& table, const LazyTableRequest& request, uint64_t listed, LazyLayout* least) {
  const LazyLayout& layout = request.layout;
  const std::vector<uint8_t>& records = table.records;
  Require(records.size() % kRecordSize == 0 && records.size() / kRecordSize <= layout.max_chunks);
  Require(!request.unlisted || !records.empty());
  const uint64_t blob_end = request.unlisted ? request.blob_size : request.content_end;
  uint64_t end = 0, sum = 0;
  PieceCosts costs(layout);
  least->max_chunks = records.size() / kRecordSize;
  least->max_chunk = least->max_chunk_stored = 0;
  for (size_t at = 0; at < records.size(); at += kRecordSize) {
    const uint8_t* record = records.data() + at;
    const uint64_t device_offset = LoadLittle(record, 8), offset = LoadLittle(record + 8, 8);
    const uint64_t length = LoadLittle(record + 16, 4), stored = LoadLittle(record + 20, 4);
    const uint64_t inner_offset = LoadLittle(record + 24, 4);
    Require(device_offset >= end && length > 0);
    end = device_offset + length;
    sum += length;
    least->max_chunk = std::max(least->max_chunk, inner_offset + length);
    least->max_chunk_stored = std::max(least->max_chunk_stored, stored);
    const uint64_t first = device_offset / layout.piece_size, last = (end - 1) / layout.piece_size;
    costs.Spend(first, offset, inner_offset + length);
    if (last != first) costs.Spend(last, offset, inner_offset + length);
    Require(LoadLittle(record + 28, 4) == 0);
    if (request.unlisted && at + kRecordSize == records.size()) {
      Require(offset == request.unlisted->offset && length == request.unlisted->size);
      Require(inner_offset == request.unlisted->inner_offset);
      sum -= length;
    } else {
      Require(offset < request.content_end);
    }
    Require(offset >= blob_end || (stored > 0 && offset + stored <= blob_end));
  }
  Require(end <= table.device_size && sum == listed);
  least->max_piece_cost = costs.most();
  Require(least->max_chunk <= layout.max_chunk && least->max_chunk_stored <= layout.max_chunk_stored);
  Require(least->max_piece_cost <= layout.max_piece_cost);
}

/** Gives the limits that a table just keeps to. */
LazyLayout Check(const LazyTable& table, const LazyTableRequest& request) {
  const LazyLayout& layout = request.layout;
  Require(table.array_at > 0 && table.array_at <= table.array_end);
  Require(table.array_end < request.json.size() && request.json[table.array_end] == ']');
  Require(table.device_size <= layout.max_device && table.device_size % layout.alignment == 0);
  Require(table.numbers.size() % kLazyNumbers == 0);
  Require(table.numbers.size() / kLazyNumbers <= layout.max_entries);
  Require(table.segments.size() % 3 == 0);
  CheckNumbers(table.numbers);
  CheckNumbers(table.segments);
  const auto is_plain = [](char c) { return c >= ' ' && c <= '\x7f' && c != '"' && c != '\\'; };
  Require(std::all_of(table.names.begin(), table.names.end(), is_plain));
  Sums sums;
  for (size_t at = 0; at < table.numbers.size(); at += kLazyNumbers) {
    CheckEntry(table, request, table.numbers.data() + at, &sums);
  }
  Require(sums.names == table.names.size() && sums.segments == table.segments.size() / 3);
  LazyLayout least = layout;
  least.max_device = table.device_size;
  least.max_entries = table.numbers.size() / kLazyNumbers;
  CheckRecords(table, request, sums.stored, &least);
  return least;
}

/** Limits that it just keeps to give the same table, and one less of any gives none. */
void CheckLimits(const LazyTable& table, LazyTableRequest request) {
  LazyLayout& layout = request.layout;
  const std::optional<LazyTable> again = ReadLazyTable(request);
  Require(again && again->array_at == table.array_at && again->array_end == table.array_end);
  Require(again->device_size == table.device_size && again->numbers == table.numbers);
  Require(again->names == table.names && again->segments == table.segments);
  Require(again->records == table.records);
  for (uint64_t LazyLayout::* limit :
       {&LazyLayout::max_device, &LazyLayout::max_entries, &LazyLayout::max_chunks, &LazyLayout::max_chunk,
        &LazyLayout::max_chunk_stored, &LazyLayout::max_piece_cost}) {
    if (layout.*limit == 0) continue;
    --(layout.*limit);
    Require(!ReadLazyTable(request));
    ++(layout.*limit);
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  if (size < kLead) return 0;
  // In memory of just this size, so that a byte too far is seen.
  const std::vector<uint8_t> copy(data + kLead, data + size);
  const std::string_view json(reinterpret_cast<const char*>(copy.data()), copy.size());
  LazyTableRequest request = RequestOf(data, json);
  const std::optional<LazyTable> table = ReadLazyTable(request);
  if (!table) return 0;
  request.layout = Check(*table, request);
  CheckLimits(*table, request);
  return 0;
}
