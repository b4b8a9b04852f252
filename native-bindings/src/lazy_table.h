// Lays out the files of an eStargz or zstd:chunked table of contents in a device, and makes the records of their chunks. It only goes
// ahead of src/layer/lazy-toc.ts, which says how that is done and what is wrong with a table: one that is not as its writers write it, of
// which too much is to be read as JSON, or that goes beyond a limit, is left to that whole.

#ifndef OCIMOUNT_LAZY_TABLE_H_
#define OCIMOUNT_LAZY_TABLE_H_

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace ocimount {

/** How files are laid out, and beyond what a table is left to others; all in bytes but numbers of things. */
struct LazyLayout {
  uint64_t alignment = 1;
  /** A file of so many has pieces of that size for itself. */
  uint64_t large = 0;
  uint64_t piece_size = 1;

  uint64_t max_device = 0;
  size_t max_entries = 0;
  size_t max_chunks = 0;
  /** Of what one is read from, unpacked and packed. */
  uint64_t max_chunk = 0;
  uint64_t max_chunk_stored = 0;
  /** What the chunks of one piece may take to be unpacked, each counted as so many more. */
  uint64_t max_piece_cost = 0;
  uint64_t chunk_cost = 0;
};

/** A file behind all that are listed. */
struct LazyUnlisted {
  uint64_t offset = 0;
  uint64_t inner_offset = 0;
  uint64_t size = 0;
  /** 64 hex digits. */
  std::string sha256;
};

struct LazyTableRequest {
  /** The whole document. */
  std::string_view json;
  LazyLayout layout;
  /** Whether a chunk's end is unpacked from the beginning of its member alone, as of gzip, or from all of its frame. */
  bool ends_early = false;
  uint64_t blob_size = 0;
  /** Content lies before this. */
  uint64_t content_end = 0;
  std::optional<LazyUnlisted> unlisted;
};

/** Numbers of an entry, by their place. */
enum LazyNumber : size_t {
  kLazyType,
  /** Where the text is of an entry that is to be read as JSON, for all but its place; the length is 0 of any other one. */
  kLazyTextAt,
  kLazyTextLength,
  kLazySize,
  kLazyMode,
  kLazyUid,
  kLazyGid,
  kLazySeconds,
  kLazyNanoseconds,
  kLazyDevMajor,
  kLazyDevMinor,
  kLazyDataOffset,
  kLazyNameLength,
  kLazyLinkLength,
  /** One more than the segments of a file with holes; 0 for what has none. */
  kLazySegments,
  kLazyNumbers,
};

struct LazyTable {
  /** Where the array of entries is, without its brackets. */
  size_t array_at = 0;
  size_t array_end = 0;
  uint64_t device_size = 0;
  /** kLazyNumbers of each entry in order. Of chunks only those are among them that are to be read as JSON, which say no more. */
  std::vector<double> numbers;
  /** Name and target of each that is not to be read. */
  std::string names;
  /** File offset, device offset and length of each segment. */
  std::vector<double> segments;
  /** See src/layer/chunk-table.ts; the unlisted file is the last one. */
  std::vector<uint8_t> records;
};

/** Reads a table; nothing where it is left to others. */
std::optional<LazyTable> ReadLazyTable(const LazyTableRequest& request);

}  // namespace ocimount

#endif  // OCIMOUNT_LAZY_TABLE_H_
