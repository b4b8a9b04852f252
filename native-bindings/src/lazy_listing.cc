#include "lazy_listing.h"

#include <algorithm>
#include <array>
#include <chrono>
#include <climits>
#include <cstdint>
#include <iterator>

namespace ocimount {
namespace {

enum class Kind { kNumber, kText, kTime, kType, kDigest, kChunkType, kIgnored };

struct Field {
  std::string_view name;
  Kind kind;
  /** Of the number; of the position of a text, behind which comes its length; of seconds, behind which come nanoseconds. */
  size_t place;
};

constexpr Field kFields[] = {
    {"name", Kind::kText, kNameAt},
    {"type", Kind::kType, kType},
    {"size", Kind::kNumber, kSize},
    {"mode", Kind::kNumber, kMode},
    {"uid", Kind::kNumber, kUid},
    {"gid", Kind::kNumber, kGid},
    {"devMajor", Kind::kNumber, kDevMajor},
    {"devMinor", Kind::kNumber, kDevMinor},
    {"offset", Kind::kNumber, kOffset},
    {"endOffset", Kind::kNumber, kEndOffset},
    {"innerOffset", Kind::kNumber, kInnerOffset},
    {"chunkOffset", Kind::kNumber, kChunkOffset},
    {"chunkSize", Kind::kNumber, kChunkSize},
    {"linkName", Kind::kText, kLinkAt},
    {"modtime", Kind::kTime, kSeconds},
    {"digest", Kind::kDigest, kDigestAt},
    {"chunkDigest", Kind::kDigest, kChunkDigestAt},
    {"chunkType", Kind::kChunkType, kIsZeros},
    // What nobody reads.
    {"accesstime", Kind::kIgnored, 0},
    {"changetime", Kind::kIgnored, 0},
    {"userName", Kind::kIgnored, 0},
    {"groupName", Kind::kIgnored, 0},
    {"NumLink", Kind::kIgnored, 0},
};
static_assert(std::size(kFields) <= 32);

constexpr std::string_view kDigestPrefix = "sha256:";
constexpr size_t kDigestDigits = 64;
constexpr std::string_view kNumberEnds = ",} \n\r\t";
/** Of which every integer is exact as a double. */
constexpr size_t kMaxDigits = 15;

bool IsHexDigit(char c) { return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'f'); }

/** Tells whether text is ASCII without escapes and control characters. */
bool IsPlain(std::string_view text) {
  uint8_t strange = 0;
  // Without an end in the midst, so that the compiler looks at many at once.
  for (const char c : text) {
    const auto byte = static_cast<uint8_t>(c);
    strange |= static_cast<uint8_t>(byte < ' ') | static_cast<uint8_t>(byte == '\\') | (byte & 0x80);
  }
  return strange == 0;
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
bool ReadTime(std::string_view text, double* seconds, double* nanoseconds) {
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
  *seconds = static_cast<double>(days.time_since_epoch().count() * 86400L + hour * 3600 + minute * 60 + second);
  if (fraction.empty()) return true;
  if (fraction[0] != '.' || fraction.size() < 2 || fraction.size() > 10) return false;
  unsigned value = Digits(fraction, 1, 9);
  for (size_t length = fraction.size(); value != UINT_MAX && length < 10; length++) value *= 10;
  *nanoseconds = value;
  return value != UINT_MAX;
}

/** A place in the document; whatever it is asked for, it stays where that is not. */
class Cursor {
 public:
  Cursor(std::string_view json, size_t at) : json_(json), at_(std::min(at, json.size())) {}

  size_t at() const { return at_; }

  /** 0 behind the end. */
  char Peek() const { return at_ < json_.size() ? json_[at_] : '\0'; }

  void SkipSpace() {
    while (at_ < json_.size() && (Peek() == ' ' || Peek() == '\n' || Peek() == '\t' || Peek() == '\r')) {
      at_++;
    }
  }

  /** Takes a character and the space around it; where there is another one, the space in front of that. */
  bool Take(char wanted) {
    SkipSpace();
    if (at_ == json_.size() || Peek() != wanted) return false;
    at_++;
    SkipSpace();
    return true;
  }

  /** Takes a string of ASCII without escapes. */
  bool TakeText(std::string_view* text) {
    if (Peek() != '"') return false;
    const size_t begin = at_ + 1;
    const size_t end = json_.find('"', begin);
    if (end == json_.npos) return false;
    *text = json_.substr(begin, end - begin);
    at_ = end + 1;
    return IsPlain(*text);
  }

  bool TakeInteger(double* number) {
    const size_t begin = at_;
    uint64_t value = 0;
    size_t end = begin;
    for (; end < json_.size() && json_[end] >= '0' && json_[end] <= '9'; end++) {
      if (end - begin == kMaxDigits) return false;
      value = value * 10 + static_cast<uint64_t>(json_[end] - '0');
    }
    const bool has_zeros = end - begin > 1 && json_[begin] == '0';
    // A fraction or an exponent is no end.
    const bool is_end = end < json_.size() && kNumberEnds.find(json_[end]) != kNumberEnds.npos;
    if (end == begin || has_zeros || !is_end) return false;
    at_ = end;
    *number = static_cast<double>(value);
    return true;
  }

  /** Passes over the object that begins here, to the brace that ends it, without a look at what is in it. */
  bool SkipObject() {
    size_t depth = 0;
    bool is_in_text = false;
    for (size_t at = at_; at < json_.size(); at++) {
      const char c = json_[at];
      if (is_in_text) {
        if (c == '\\') at++;
        if (c == '"') is_in_text = false;
      } else if (c == '"') {
        is_in_text = true;
      } else if (c == '{') {
        depth++;
      } else if (c == '}' && --depth == 0) {
        at_ = at + 1;
        return true;
      }
    }
    return false;
  }

  size_t PositionOf(std::string_view part) const {
    return static_cast<size_t>(part.data() - json_.data());
  }

 private:
  std::string_view json_;
  size_t at_;
};

using Numbers = std::array<double, kLazyNumbers>;

bool TakeValue(Cursor* cursor, const Field& field, Numbers* numbers) {
  double& first = (*numbers)[field.place];
  std::string_view text;
  if (field.kind == Kind::kNumber) return cursor->TakeInteger(&first);
  double ignored = 0;
  if (field.kind == Kind::kIgnored && cursor->TakeInteger(&ignored)) return true;
  if (!cursor->TakeText(&text)) return false;
  const size_t at = cursor->PositionOf(text);
  switch (field.kind) {
    case Kind::kTime:
      return ReadTime(text, &first, &(*numbers)[field.place + 1]);
    case Kind::kText:
      first = static_cast<double>(at);
      (*numbers)[field.place + 1] = static_cast<double>(text.size());
      return true;
    case Kind::kType: {
      const auto* found = std::find(std::begin(kLazyTypes), std::end(kLazyTypes), text);
      first = static_cast<double>(found - std::begin(kLazyTypes));
      return found != std::end(kLazyTypes) && first != 0;
    }
    case Kind::kDigest:
      if (text.empty()) return true;
      first = static_cast<double>(at + kDigestPrefix.size());
      return text.size() == kDigestPrefix.size() + kDigestDigits && text.starts_with(kDigestPrefix) &&
             std::all_of(text.begin() + kDigestPrefix.size(), text.end(), IsHexDigit);
    case Kind::kChunkType:
      first = text == "zeros" ? 1 : 0;
      return text == "zeros" || text.empty();
    default:
      return true;
  }
}

/** Reads an ordinary entry. */
bool TakeEntry(Cursor* cursor, Numbers* numbers) {
  if (!cursor->Take('{')) return false;
  uint32_t seen = 0;
  size_t next_field = 0;
  for (;;) {
    std::string_view name;
    if (!cursor->TakeText(&name) || !cursor->Take(':')) return false;
    // A writer has its fields in one order, so that the search mostly ends where it begins.
    size_t index = next_field;
    for (size_t tries = 0; kFields[index].name != name; tries++) {
      if (tries == std::size(kFields)) return false;
      index = (index + 1) % std::size(kFields);
    }
    next_field = (index + 1) % std::size(kFields);
    if ((seen >> index & 1) != 0 || !TakeValue(cursor, kFields[index], numbers)) return false;
    seen |= uint32_t{1} << index;
    if (cursor->Take(',')) continue;
    return cursor->Take('}') && (*numbers)[kType] != 0;
  }
}

/** Goes to the first entry; false where something else than a version is in front of the array. */
bool FindArray(Cursor* cursor) {
  std::string_view name;
  double version = 0;
  if (!cursor->Take('{') || !cursor->TakeText(&name) || !cursor->Take(':')) return false;
  if (name == "version") {
    const bool is_passed = cursor->TakeInteger(&version) && cursor->Take(',');
    if (!is_passed || !cursor->TakeText(&name) || !cursor->Take(':')) return false;
  }
  return name == "entries" && cursor->Take('[');
}

}  // namespace

LazyListing ListLazyEntries(const LazyListingRequest& request) {
  LazyListing listing;
  Cursor cursor(request.json, request.start);
  if (request.start == 0) {
    if (!FindArray(&cursor)) return listing;
    listing.array_at = cursor.at();
    if (cursor.Peek() == ']') {
      listing.end = ListingEnd::kArrayEnd;
      listing.next = cursor.at();
      return listing;
    }
  }
  for (size_t count = 0; count < request.max_entries; count++) {
    const size_t begin = cursor.at();
    Numbers numbers = {};
    if (!TakeEntry(&cursor, &numbers)) {
      cursor = Cursor(request.json, begin);
      numbers = {};
      if (cursor.Peek() != '{' || !cursor.SkipObject()) return listing;
    }
    numbers[kEntryAt] = static_cast<double>(begin);
    numbers[kEntryLength] = static_cast<double>(cursor.at() - begin);
    listing.numbers.insert(listing.numbers.end(), numbers.begin(), numbers.end());
    if (cursor.Take(',')) continue;
    if (cursor.Peek() != ']') return listing;
    listing.end = ListingEnd::kArrayEnd;
    listing.next = cursor.at();
    return listing;
  }
  listing.end = ListingEnd::kMore;
  listing.next = cursor.at();
  return listing;
}

}  // namespace ocimount
