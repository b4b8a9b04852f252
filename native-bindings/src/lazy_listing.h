// Lists the ordinary entries of an eStargz or zstd:chunked table of contents, which is JSON. It only goes ahead of the readers of
// src/image/json.ts and src/layer/lazy-entries.ts, which decide what the text means: an entry that is not as every writer writes it
// is left to them whole, and so is everything around the entries.

#ifndef OCIMOUNT_LAZY_LISTING_H_
#define OCIMOUNT_LAZY_LISTING_H_

#include <cstddef>
#include <string_view>
#include <vector>

namespace ocimount {

struct LazyListingRequest {
  /** The whole document. */
  std::string_view json;
  /** 0, or where an earlier listing ended. */
  size_t start = 0;
  size_t max_entries = 0;
};

enum class ListingEnd {
  /** There may be more entries from `next` on. */
  kMore,
  /** The array ends at `next`, where its bracket is. */
  kArrayEnd,
  /** The text is not what this reads. */
  kStrange,
};

/** Numbers of an entry, by their place. Positions are of bytes of the document; a text that is not there has length 0. */
enum LazyNumber : size_t {
  /** Of the entry as a whole; the length is exact where it is left to others. */
  kEntryAt,
  kEntryLength,
  /** Its place in kLazyTypes; 0 for one that is left to others, all of whose further numbers are 0. */
  kType,
  kSize,
  kMode,
  kUid,
  kGid,
  kDevMajor,
  kDevMinor,
  kOffset,
  kEndOffset,
  kInnerOffset,
  kChunkOffset,
  kChunkSize,
  kNameAt,
  kNameLength,
  kLinkAt,
  kLinkLength,
  /** Of the time, since 1970. */
  kSeconds,
  kNanoseconds,
  /** Of the 64 hex digits; 0 where there is none. */
  kDigestAt,
  kChunkDigestAt,
  /** 1 for a chunk of zeros. */
  kIsZeros,
  kLazyNumbers,
};

constexpr std::string_view kLazyTypes[] = {"",         "reg",  "dir",   "symlink",
                                           "hardlink", "char", "block", "fifo", "chunk"};

struct LazyListing {
  ListingEnd end = ListingEnd::kStrange;
  size_t next = 0;
  /** Where the array of entries begins, behind its bracket; of a listing from 0 on. */
  size_t array_at = 0;
  /** kLazyNumbers of each entry. */
  std::vector<double> numbers;
};

/**
 * Lists entries from `start` on. An ordinary entry is an object of the fields that writers write, each once, of ASCII text without
 * escapes and of integers of at most 15 digits. Of what it lists nothing else is left to decide but what the values are worth.
 */
LazyListing ListLazyEntries(const LazyListingRequest& request);

}  // namespace ocimount

#endif  // OCIMOUNT_LAZY_LISTING_H_
