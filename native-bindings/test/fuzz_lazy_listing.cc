// libFuzzer: a table of contents of any bytes, listed at once, in batches, and from any byte of it.

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <iterator>
#include <string_view>
#include <vector>

#include "lazy_listing.h"

namespace {

using namespace ocimount;  // NOLINT

constexpr double kMaxInteger = 999999999999999;
constexpr double kMaxSeconds = 253402300799;
constexpr std::string_view kSpace = " \n\r\t";

void Require(bool condition) {
  if (!condition) __builtin_trap();
}

/** A text of the document, in the midst of an entry. */
std::string_view Part(std::string_view entry, size_t entry_at, double at, double length) {
  const double begin = at - static_cast<double>(entry_at);
  Require(begin > 0 && length >= 0 && begin + length < static_cast<double>(entry.size()));
  return entry.substr(static_cast<size_t>(begin), static_cast<size_t>(length));
}

void CheckText(std::string_view entry, size_t entry_at, const double* place) {
  if (place[0] == 0) {
    Require(place[1] == 0);
    return;
  }
  const std::string_view text = Part(entry, entry_at, place[0], place[1]);
  const auto is_plain = [](char c) { return c >= ' ' && c != '"' && c != '\\'; };
  Require(std::all_of(text.begin(), text.end(), is_plain));
  Require(text.data()[-1] == '"' && text.data()[text.size()] == '"');
}

void CheckDigest(std::string_view entry, size_t entry_at, double at) {
  if (at == 0) return;
  const std::string_view digits = Part(entry, entry_at, at, 64);
  Require(digits.find_first_not_of("0123456789abcdef") == digits.npos);
  Require(digits.data()[-1] == ':' && digits.data()[digits.size()] == '"');
}

void CheckEntry(std::string_view json, const double* numbers) {
  for (size_t place = 0; place < kLazyNumbers; place++) {
    const double number = numbers[place];
    Require(number >= 0 && number <= kMaxInteger && number == std::floor(number));
  }
  const auto at = static_cast<size_t>(numbers[kEntryAt]);
  const std::string_view entry = json.substr(at, static_cast<size_t>(numbers[kEntryLength]));
  Require(entry.size() >= 2 && entry[0] == '{');
  Require(numbers[kType] < static_cast<double>(std::size(kLazyTypes)));
  if (numbers[kType] == 0) {
    Require(entry.back() == '}');
    for (size_t place = kType; place < kLazyNumbers; place++) Require(numbers[place] == 0);
    return;
  }
  CheckText(entry, at, numbers + kNameAt);
  CheckText(entry, at, numbers + kLinkAt);
  CheckDigest(entry, at, numbers[kDigestAt]);
  CheckDigest(entry, at, numbers[kChunkDigestAt]);
  Require(numbers[kSeconds] <= kMaxSeconds && numbers[kNanoseconds] < 1e9 && numbers[kIsZeros] <= 1);
}

void Check(const LazyListing& listing, const LazyListingRequest& request) {
  const std::vector<double>& numbers = listing.numbers;
  const size_t size = request.json.size();
  Require(numbers.size() % kLazyNumbers == 0);
  Require(numbers.size() / kLazyNumbers <= request.max_entries);
  double end = static_cast<double>(std::max(request.start, listing.array_at));
  for (size_t at = 0; at < numbers.size(); at += kLazyNumbers) {
    Require(numbers[at + kEntryAt] >= end);
    end = numbers[at + kEntryAt] + numbers[at + kEntryLength];
    Require(end <= static_cast<double>(size));
    CheckEntry(request.json, numbers.data() + at);
  }
  if (listing.end == ListingEnd::kStrange) return;
  Require(listing.next <= size && static_cast<double>(listing.next) >= end);
  if (request.start == 0) Require(listing.array_at > 0 && listing.array_at <= listing.next);
  if (listing.end == ListingEnd::kArrayEnd) {
    Require(listing.next < size && request.json[listing.next] == ']');
    return;
  }
  // Who goes on from there gets on.
  Require(listing.next > request.start && numbers.size() == request.max_entries * kLazyNumbers);
  const size_t comma = request.json.find_last_not_of(kSpace, listing.next - 1);
  Require(comma != std::string_view::npos && request.json[comma] == ',');
}

LazyListing ListAndCheck(const LazyListingRequest& request) {
  LazyListing listing = ListLazyEntries(request);
  Check(listing, request);
  return listing;
}

/** Goes on from batch to batch, which has to give what a listing at once does. */
void CheckBatches(const LazyListing& whole, LazyListingRequest request) {
  std::vector<double> numbers;
  for (;;) {
    const LazyListing part = ListAndCheck(request);
    numbers.insert(numbers.end(), part.numbers.begin(), part.numbers.end());
    if (request.start == 0) Require(part.array_at == whole.array_at);
    request.start = part.next;
    if (part.end == ListingEnd::kMore) continue;
    Require(part.end == whole.end && part.next == whole.next);
    break;
  }
  Require(numbers == whole.numbers);
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  if (size < 2) return 0;
  // In memory of just this size, so that a byte too far is seen.
  const std::vector<uint8_t> copy(data + 2, data + size);
  const std::string_view json(reinterpret_cast<const char*>(copy.data()), copy.size());
  // More than there can be entries.
  const LazyListing whole = ListAndCheck({.json = json, .start = 0, .max_entries = size});
  CheckBatches(whole, {.json = json, .start = 0, .max_entries = 1 + data[0] % 5u});
  // Where no listing ended, also behind the end.
  const size_t start = data[1] % 128u * (size / 64 + 1);
  const LazyListingRequest request = {.json = json, .start = start, .max_entries = 1 + data[0] % 64u};
  if (start <= json.size()) {
    ListAndCheck(request);
  } else {
    Require(ListLazyEntries(request).end == ListingEnd::kStrange || start == 0);
  }
  return 0;
}
