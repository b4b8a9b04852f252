#include "lazy_entry.h"

#include <algorithm>
#include <chrono>
#include <climits>
#include <iterator>

namespace ocimount {
namespace {

/** Whether a place in the device depends on it: then there is no table where it is not ordinary. */
enum class Kind { kPlacing, kAttribute, kName, kLinkName, kTime, kType, kDigest, kChunkType, kIgnored };

struct Field {
  std::string_view name;
  Kind kind;
  uint64_t LazyEntry::* number = nullptr;
  std::string_view LazyEntry::* text = nullptr;
};

constexpr Field kFields[] = {
    {"name", Kind::kName},
    {"type", Kind::kType},
    {"size", Kind::kPlacing, &LazyEntry::size},
    {"mode", Kind::kAttribute, &LazyEntry::mode},
    {"uid", Kind::kAttribute, &LazyEntry::uid},
    {"gid", Kind::kAttribute, &LazyEntry::gid},
    {"devMajor", Kind::kAttribute, &LazyEntry::dev_major},
    {"devMinor", Kind::kAttribute, &LazyEntry::dev_minor},
    {"offset", Kind::kPlacing, &LazyEntry::offset},
    {"endOffset", Kind::kPlacing, &LazyEntry::end_offset},
    {"innerOffset", Kind::kPlacing, &LazyEntry::inner_offset},
    {"chunkOffset", Kind::kPlacing, &LazyEntry::chunk_offset},
    {"chunkSize", Kind::kPlacing, &LazyEntry::chunk_size},
    {"linkName", Kind::kLinkName},
    {"modtime", Kind::kTime},
    {"digest", Kind::kDigest, nullptr, &LazyEntry::digest},
    {"chunkDigest", Kind::kDigest, nullptr, &LazyEntry::chunk_digest},
    {"chunkType", Kind::kChunkType},
    // What nobody reads.
    {"accesstime", Kind::kIgnored},
    {"changetime", Kind::kIgnored},
    {"userName", Kind::kIgnored},
    {"groupName", Kind::kIgnored},
    {"NumLink", Kind::kIgnored},
};
static_assert(std::size(kFields) <= 32);

/** By their number. */
constexpr std::string_view kTypes[] = {"",         "reg",  "dir",   "symlink",
                                       "hardlink", "char", "block", "fifo", "chunk"};

constexpr std::string_view kDigestPrefix = "sha256:";
constexpr size_t kDigestDigits = 64;
constexpr std::string_view kValueEnds = ",]} \n\r\t";
/** Of which every integer is exact as a double. */
constexpr size_t kMaxDigits = 15;

bool IsHexDigit(char c) { return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'f'); }

bool IsPlain(std::string_view text) {
  uint8_t strange = 0;
  // Without an end in the midst, so that the compiler looks at many at once.
  for (const char c : text) {
    const auto byte = static_cast<uint8_t>(c);
    strange |= static_cast<uint8_t>(byte < ' ') | static_cast<uint8_t>(byte == '\\') | (byte & 0x80);
  }
  return strange == 0;
}

/** Gives the quote that ends a string whose text begins there, or the end of the document. */
size_t FindQuote(std::string_view json, size_t at) {
  for (; at < json.size() && json[at] != '"'; at++) {
    if (json[at] == '\\') at++;
  }
  return std::min(at, json.size());
}

/** Reads so many digits; gives more than any that there are for what is no digit. */
unsigned Digits(std::string_view text, size_t at, size_t count) {
  unsigned value = 0;
  for (const char c : text.substr(at, count)) {
    if (c < '0' || c > '9') return UINT_MAX;
    value = value * 10 + static_cast<unsigned>(c - '0');
  }
  return value;
}

/** Reads `2026-11-26T11:14:10.5Z`, from 1970 on and with up to nine digits of a second; false for what is written otherwise. */
bool ReadTime(std::string_view text, LazyEntry* entry) {
  // None, and what Go has for that.
  if (text.empty() || text == "0001-01-01T00:00:00Z") return true;
  if (text.size() < 20 || text[4] != '-' || text[7] != '-' || text[10] != 'T' || text[13] != ':' ||
      text[16] != ':' || text.back() != 'Z') {
    return false;
  }
  const unsigned year = Digits(text, 0, 4), month = Digits(text, 5, 2), day = Digits(text, 8, 2);
  const unsigned hour = Digits(text, 11, 2), minute = Digits(text, 14, 2), second = Digits(text, 17, 2);
  const std::string_view fraction = text.substr(19, text.size() - 20);
  if (year < 1970 || year > 9999 || hour > 23 || minute > 59 || second > 59) return false;
  const std::chrono::year_month_day date{std::chrono::year(static_cast<int>(year)), std::chrono::month(month),
                                         std::chrono::day(day)};
  if (!date.ok()) return false;
  const std::chrono::sys_days days = date;
  entry->seconds =
      static_cast<uint64_t>(days.time_since_epoch().count()) * 86400 + hour * 3600 + minute * 60 + second;
  if (fraction.empty()) return true;
  if (fraction[0] != '.' || fraction.size() < 2 || fraction.size() > 10) return false;
  unsigned value = Digits(fraction, 1, 9);
  for (size_t length = fraction.size(); value != UINT_MAX && length < 10; length++) value *= 10;
  entry->nanoseconds = value;
  return value != UINT_MAX;
}

bool ReadType(std::string_view text, LazyType* type) {
  const auto* found = std::find(std::begin(kTypes), std::end(kTypes), text);
  *type = static_cast<LazyType>(found - std::begin(kTypes));
  return found != std::end(kTypes);
}

bool ReadDigest(std::string_view text, std::string_view* digits) {
  if (text.empty()) return true;
  if (text.size() != kDigestPrefix.size() + kDigestDigits || !text.starts_with(kDigestPrefix)) return false;
  *digits = text.substr(kDigestPrefix.size());
  return std::all_of(digits->begin(), digits->end(), IsHexDigit);
}

/** Takes an ordinary value. */
bool TakeValue(LazyCursor* cursor, const Field& field, LazyEntry* entry) {
  std::string_view text;
  uint64_t ignored = 0;
  switch (field.kind) {
    case Kind::kPlacing:
    case Kind::kAttribute:
      return cursor->TakeInteger(&(entry->*field.number));
    case Kind::kLinkName:
      return cursor->TakePlain(&entry->link_name);
    case Kind::kTime:
      return cursor->TakePlain(&text) && ReadTime(text, entry);
    case Kind::kType:
      return cursor->TakePlain(&text) && ReadType(text, &entry->type);
    case Kind::kDigest:
      return cursor->TakePlain(&text) && ReadDigest(text, &(entry->*field.text));
    case Kind::kChunkType:
      if (!cursor->TakePlain(&text)) return false;
      entry->is_zeros = text == "zeros";
      return entry->is_zeros || text.empty();
    case Kind::kName: {
      bool is_plain = false;
      if (!cursor->TakeText(&entry->name, &is_plain)) return false;
      entry->is_left |= !is_plain;
      return true;
    }
    default:
      return cursor->TakeInteger(&ignored) || cursor->TakePlain(&text);
  }
}

bool CanBeLeft(Kind kind) {
  return kind == Kind::kAttribute || kind == Kind::kLinkName || kind == Kind::kTime ||
         kind == Kind::kIgnored;
}

/** Gives where a field is among those that are known, or how many they are; a writer has its fields in one order, as they are there. */
size_t FindField(std::string_view name, size_t likely) {
  for (size_t tries = 0; tries < std::size(kFields); tries++) {
    const size_t index = (likely + tries) % std::size(kFields);
    if (kFields[index].name == name) return index;
  }
  return std::size(kFields);
}

}  // namespace

void LazyCursor::SkipSpace() {
  while (at_ < json_.size() && (Peek() == ' ' || Peek() == '\n' || Peek() == '\t' || Peek() == '\r')) {
    at_++;
  }
}

bool LazyCursor::Take(char wanted) {
  SkipSpace();
  if (at_ == json_.size() || Peek() != wanted) return false;
  at_++;
  SkipSpace();
  return true;
}

bool LazyCursor::TakeText(std::string_view* text, bool* is_plain) {
  if (Peek() != '"') return false;
  const size_t begin = at_ + 1;
  size_t end = std::min(json_.find('"', begin), json_.size());
  *is_plain = IsPlain(json_.substr(begin, end - begin));
  if (!*is_plain) end = FindQuote(json_, begin);
  if (end == json_.size()) return false;
  *text = json_.substr(begin, end - begin);
  at_ = end + 1;
  return true;
}

bool LazyCursor::TakePlain(std::string_view* text) {
  const size_t begin = at_;
  bool is_plain = false;
  if (TakeText(text, &is_plain) && is_plain) return true;
  at_ = begin;
  return false;
}

bool LazyCursor::TakeInteger(uint64_t* number) {
  const size_t begin = at_;
  uint64_t value = 0;
  size_t end = begin;
  for (; end < json_.size() && json_[end] >= '0' && json_[end] <= '9'; end++) {
    if (end - begin == kMaxDigits) return false;
    value = value * 10 + static_cast<uint64_t>(json_[end] - '0');
  }
  const bool has_zeros = end - begin > 1 && json_[begin] == '0';
  // A fraction or an exponent is no end.
  const bool is_end = end < json_.size() && kValueEnds.find(json_[end]) != kValueEnds.npos;
  if (end == begin || has_zeros || !is_end) return false;
  at_ = end;
  *number = value;
  return true;
}

bool LazyCursor::SkipValue() {
  size_t depth = 0;
  for (size_t at = at_; at < json_.size(); at++) {
    const char c = json_[at];
    if (depth == 0 && at > at_ && kValueEnds.find(c) != kValueEnds.npos) {
      at_ = at;
      return true;
    }
    if (c == '"') {
      at = FindQuote(json_, at + 1);
    } else if (c == '{' || c == '[') {
      depth++;
    } else if ((c == '}' || c == ']') && depth-- == 0) {
      return false;
    }
  }
  return false;
}

bool FindLazyEntries(LazyCursor* cursor) {
  std::string_view name;
  uint64_t version = 0;
  if (!cursor->Take('{') || !cursor->TakePlain(&name) || !cursor->Take(':')) return false;
  if (name == "version") {
    const bool is_passed = cursor->TakeInteger(&version) && cursor->Take(',');
    if (!is_passed || !cursor->TakePlain(&name) || !cursor->Take(':')) return false;
  }
  return name == "entries" && cursor->Take('[');
}

bool TakeLazyEntry(LazyCursor* cursor, LazyEntry* entry) {
  const size_t begin = cursor->at();
  if (!cursor->Take('{')) return false;
  uint32_t seen = 0;
  size_t likely = 0;
  for (;;) {
    std::string_view name;
    // With an escape it might be the name of a field that places are made of.
    if (!cursor->TakePlain(&name) || !cursor->Take(':')) return false;
    const size_t index = FindField(name, likely);
    const bool is_known = index < std::size(kFields);
    const bool is_new = is_known && (seen >> index & 1) == 0;
    const LazyCursor before = *cursor;
    if (!is_new || !TakeValue(cursor, kFields[index], entry)) {
      if (is_known && !CanBeLeft(kFields[index].kind)) return false;
      entry->is_left = true;
      *cursor = before;
      if (!cursor->SkipValue()) return false;
    }
    if (is_known) {
      seen |= uint32_t{1} << index;
      likely = (index + 1) % std::size(kFields);
    }
    if (cursor->Take(',')) continue;
    entry->text = cursor->From(begin, 1);
    return cursor->Take('}') && entry->type != LazyType::kNone;
  }
}

}  // namespace ocimount
