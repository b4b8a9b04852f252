#include "lazy_table.h"

#include <algorithm>

#include "lazy_entry.h"
#include "span_record.h"

namespace ocimount {
namespace {

constexpr size_t kChunkRecordSize = 64;

/** Where a chunk is; of its record all but the digest. */
struct Chunk {
  uint64_t device_offset = 0;
  uint64_t offset = 0;
  uint64_t length = 0;
  uint64_t inner_offset = 0;
};

/** What has to be stored at most of what unpacks to so many bytes: packedBound() of src/compression/unpack-start.ts. */
uint64_t PackedBound(uint64_t length) { return length + (length + 63) / 64 + 4096; }

uint8_t HexValue(char digit) { return static_cast<uint8_t>(digit <= '9' ? digit - '0' : digit - 'a' + 10); }

/** A regular file whose chunks are still coming. */
struct OpenFile {
  std::string_view name;
  std::string_view digest;
  uint64_t size = 0;
  uint64_t data_offset = 0;
  uint64_t alignment = 0;
  uint64_t covered = 0;
  uint64_t stored = 0;
  /** Where its numbers and its segments begin. */
  size_t numbers_at = 0;
  size_t segments_at = 0;
};

/** Methods that give false do so where the table is left to others. */
class TableBuilder {
 public:
  TableBuilder(const LazyTableRequest& request, LazyTable* table)
      : request_(request), layout_(request.layout), table_(*table) {}

  bool Add(const LazyEntry& entry) {
    if (entry.type == LazyType::kChunk) {
      if (!file_ || file_->name != entry.name) return false;
      if (entry.is_left && !AddNumbers(entry, 0)) return false;
      return AddChunk(entry);
    }
    if (!CloseFile()) return false;
    return entry.type == LazyType::kReg && entry.size > 0 ? OpenAFile(entry) : AddNumbers(entry, cursor_);
  }

  bool Finish() {
    // Each that is left is read by itself, which takes three times as long as where all are.
    if (left_ > entries_ / 3) return false;
    if (!CloseFile() || !AddUnlisted() || !Align(layout_.alignment)) return false;
    table_.device_size = cursor_;
    Mark(request_.unlisted ? request_.blob_size : request_.content_end);
    std::sort(marks_.begin(), marks_.end());
    return std::all_of(chunks_.begin(), chunks_.end(), [this](const Chunk& chunk) { return Settle(chunk); });
  }

 private:
  bool AddNumbers(const LazyEntry& entry, uint64_t data_offset) {
    if (entries_++ == layout_.max_entries) return false;
    const bool is_left = entry.is_left;
    left_ += is_left;
    const std::string_view name = is_left ? std::string_view() : entry.name;
    const std::string_view link = is_left ? std::string_view() : entry.link_name;
    const uint64_t text_at = static_cast<uint64_t>(entry.text.data() - request_.json.data());
    table_.names.append(name).append(link);
    for (const uint64_t number :
         {static_cast<uint64_t>(entry.type), text_at, is_left ? entry.text.size() : 0, entry.size, entry.mode,
          entry.uid, entry.gid, entry.seconds, entry.nanoseconds, entry.dev_major, entry.dev_minor,
          data_offset, name.size(), link.size(), size_t{0}}) {
      table_.numbers.push_back(static_cast<double>(number));
    }
    return true;
  }

  bool OpenAFile(const LazyEntry& entry) {
    const uint64_t alignment = entry.size >= layout_.large ? layout_.piece_size : layout_.alignment;
    if (!Align(alignment)) return false;
    file_ = OpenFile{.name = entry.name,
                     .digest = entry.digest,
                     .size = entry.size,
                     .data_offset = cursor_,
                     .alignment = alignment,
                     .numbers_at = table_.numbers.size(),
                     .segments_at = table_.segments.size()};
    return AddNumbers(entry, cursor_) && AddChunk(entry);
  }

  bool AddChunk(const LazyEntry& part) {
    OpenFile& file = *file_;
    const uint64_t rest = file.size - file.covered;
    const uint64_t length = part.chunk_size == 0 ? rest : part.chunk_size;
    if (part.chunk_offset != file.covered || length == 0 || length > rest) return false;
    file.covered += length;
    // Nothing is stored of a hole.
    if (part.is_zeros) return true;
    const std::string_view own = length == file.size ? file.digest : std::string_view();
    const std::string_view digest = part.chunk_digest.empty() ? own : part.chunk_digest;
    if (digest.empty() || part.offset >= request_.content_end) return false;
    AddToSegments(file, part.chunk_offset, length);
    file.stored += length;
    // Only where a file ends is it written, not where a chunk does.
    if (part.end_offset > part.offset) Mark(part.end_offset);
    return AddRecord({cursor_, part.offset, length, part.inner_offset}, digest);
  }

  void AddToSegments(const OpenFile& file, uint64_t file_offset, uint64_t length) {
    std::vector<double>& segments = table_.segments;
    const bool has_last = segments.size() > file.segments_at;
    // Nothing else is between two chunks of a file.
    if (has_last && segments.end()[-3] + segments.back() == static_cast<double>(file_offset)) {
      segments.back() += static_cast<double>(length);
      return;
    }
    for (const uint64_t number : {file_offset, cursor_, length}) segments.push_back(static_cast<double>(number));
  }

  bool AddRecord(const Chunk& chunk, std::string_view digest) {
    const bool is_long = chunk.inner_offset + chunk.length > layout_.max_chunk;
    if (is_long || chunks_.size() == layout_.max_chunks) return false;
    Mark(chunk.offset);
    chunks_.push_back(chunk);
    const size_t at = table_.records.size();
    table_.records.resize(at + kChunkRecordSize);
    uint8_t* record = table_.records.data() + at;
    StoreLittle(record, chunk.device_offset, 8);
    StoreLittle(record + 8, chunk.offset, 8);
    StoreLittle(record + 16, chunk.length, 4);
    StoreLittle(record + 24, chunk.inner_offset, 4);
    for (size_t index = 0; index < kDigestSize; index++) {
      record[32 + index] = static_cast<uint8_t>(HexValue(digest[2 * index]) << 4 | HexValue(digest[2 * index + 1]));
    }
    return Move(chunk.length);
  }

  bool CloseFile() {
    if (!file_) return true;
    const OpenFile file = *file_;
    file_.reset();
    if (file.covered != file.size) return false;
    if (file.stored == file.size) {
      table_.segments.resize(file.segments_at);
    } else {
      const size_t segments = (table_.segments.size() - file.segments_at) / 3;
      table_.numbers[file.numbers_at + kLazySegments] = static_cast<double>(segments + 1);
    }
    return Align(file.alignment);
  }

  bool AddUnlisted() {
    if (!request_.unlisted) return true;
    const LazyUnlisted& file = *request_.unlisted;
    if (file.size == 0 || !Align(layout_.alignment)) return false;
    return AddRecord({cursor_, file.offset, file.size, file.inner_offset}, file.sha256);
  }

  /** Notes where something in the blob begins or ends. */
  void Mark(uint64_t offset) {
    // Many chunks of a file can lie in one member.
    if (marks_.empty() || marks_.back() != offset) marks_.push_back(offset);
  }

  bool Align(uint64_t alignment) { return Move((alignment - cursor_ % alignment) % alignment); }

  bool Move(uint64_t length) {
    cursor_ += length;
    return cursor_ <= layout_.max_device;
  }

  /** Says how much of the blob a chunk takes: to where the next thing begins or ends; and counts what it costs in its pieces. */
  bool Settle(const Chunk& chunk) {
    const auto next = std::upper_bound(marks_.begin(), marks_.end(), chunk.offset);
    const uint64_t unpacked = chunk.inner_offset + chunk.length;
    const uint64_t most = request_.ends_early ? PackedBound(unpacked) : layout_.max_chunk_stored + 1;
    const uint64_t stored = next == marks_.end() ? 0 : std::min(*next - chunk.offset, most);
    StoreLittle(table_.records.data() + settled_++ * kChunkRecordSize + 20, stored, 4);
    if (stored > layout_.max_chunk_stored) return false;
    const uint64_t first = chunk.device_offset / layout_.piece_size;
    const uint64_t last = (chunk.device_offset + chunk.length - 1) / layout_.piece_size;
    if (!Spend(first, chunk)) return false;
    // It is the first one there, and alone in those between.
    if (last != first) Spend(last, chunk);
    return true;
  }

  bool Spend(uint64_t piece, const Chunk& chunk) {
    const bool is_same_piece = piece == piece_ && piece_cost_ > 0;
    const uint64_t known = is_same_piece && chunk.offset == member_offset_ ? member_unpacked_ : 0;
    const uint64_t unpacked = std::max(known, chunk.inner_offset + chunk.length);
    piece_cost_ = (is_same_piece ? piece_cost_ : 0) + layout_.chunk_cost + unpacked - known;
    piece_ = piece;
    member_offset_ = chunk.offset;
    member_unpacked_ = unpacked;
    return piece_cost_ <= layout_.max_piece_cost;
  }

  const LazyTableRequest& request_;
  const LazyLayout& layout_;
  LazyTable& table_;
  uint64_t cursor_ = 0;
  size_t entries_ = 0;
  size_t left_ = 0;
  std::optional<OpenFile> file_;
  std::vector<Chunk> chunks_;
  std::vector<uint64_t> marks_;
  size_t settled_ = 0;
  /** What was spent last: on which piece, how much by now, and of which member. */
  uint64_t piece_ = 0;
  uint64_t piece_cost_ = 0;
  uint64_t member_offset_ = 0;
  uint64_t member_unpacked_ = 0;
};

}  // namespace

std::optional<LazyTable> ReadLazyTable(const LazyTableRequest& request) {
  LazyTable table;
  TableBuilder builder(request, &table);
  LazyCursor cursor(request.json);
  if (!FindLazyEntries(&cursor)) return std::nullopt;
  table.array_at = cursor.at();
  if (cursor.Peek() != ']') {
    do {
      LazyEntry entry;
      if (!TakeLazyEntry(&cursor, &entry) || !builder.Add(entry)) return std::nullopt;
    } while (cursor.Take(','));
    if (cursor.Peek() != ']') return std::nullopt;
  }
  table.array_end = cursor.at();
  if (!builder.Finish()) return std::nullopt;
  return table;
}

}  // namespace ocimount
