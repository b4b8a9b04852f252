// Reads the entries of an eStargz or zstd:chunked table of contents, which is JSON. It only goes ahead of the readers of
// src/image/json.ts and src/layer/lazy-entries.ts, which decide what the text means. Of an entry this reads what its writers write;
// what else is in it is left to those, and a table whose files cannot be laid out without it is strange.

#ifndef OCIMOUNT_LAZY_ENTRY_H_
#define OCIMOUNT_LAZY_ENTRY_H_

#include <cstddef>
#include <cstdint>
#include <string_view>

namespace ocimount {

enum class LazyType : uint8_t { kNone, kReg, kDir, kSymlink, kHardlink, kChar, kBlock, kFifo, kChunk };

/** One entry; absent fields are 0 or empty. Numbers have at most 15 digits. */
struct LazyEntry {
  /** The entry as a whole. */
  std::string_view text;
  /** Whether text has to be read as JSON: for attributes that are not those of an ordinary entry. */
  bool is_left = false;

  LazyType type = LazyType::kNone;
  uint64_t size = 0;
  uint64_t offset = 0;
  uint64_t end_offset = 0;
  uint64_t inner_offset = 0;
  uint64_t chunk_offset = 0;
  uint64_t chunk_size = 0;
  /** 64 hex digits each. */
  std::string_view digest;
  std::string_view chunk_digest;
  bool is_zeros = false;
  /** As it is written, so that two that differ may be the same. */
  std::string_view name;

  // Not to be believed of an entry that is left: ASCII without escapes, the time since 1970.
  std::string_view link_name;
  uint64_t mode = 0;
  uint64_t uid = 0;
  uint64_t gid = 0;
  uint64_t dev_major = 0;
  uint64_t dev_minor = 0;
  uint64_t seconds = 0;
  uint64_t nanoseconds = 0;
};

/** A place in the document; whatever it is asked for, it stays where that is not. */
class LazyCursor {
 public:
  explicit LazyCursor(std::string_view json) : json_(json) {}

  size_t at() const { return at_; }
  /** 0 behind the end. */
  char Peek() const { return at_ < json_.size() ? json_[at_] : '\0'; }
  /** Gives the text from an earlier place to so many bytes behind this one. */
  std::string_view From(size_t begin, size_t behind) const { return json_.substr(begin, at_ + behind - begin); }

  /** Takes a character and the space around it; where there is another one, the space in front of that. */
  bool Take(char wanted);
  /** Takes a string; `is_plain` tells whether it is ASCII without escapes and control characters. */
  bool TakeText(std::string_view* text, bool* is_plain);
  bool TakePlain(std::string_view* text);
  bool TakeInteger(uint64_t* number);
  /** Takes a value of any kind without a look at what is in it: of text that is JSON, all of it. */
  bool SkipValue();

 private:
  void SkipSpace();

  std::string_view json_;
  size_t at_ = 0;
};

/** Goes to the first entry of a table or the end of their array; false where something else than a version is in front of that. */
bool FindLazyEntries(LazyCursor* cursor);

/** Reads an entry; false where its table is strange. */
bool TakeLazyEntry(LazyCursor* cursor, LazyEntry* entry);

}  // namespace ocimount

#endif  // OCIMOUNT_LAZY_ENTRY_H_
