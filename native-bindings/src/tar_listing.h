// Lists the ordinary members of a plain tar by hopping from header to header. It only goes ahead of the parser of src/tar, which
// decides what a header means: at whatever is not as every archiver writes it, this stops, and the parser reads that by itself.

#ifndef OCIMOUNT_TAR_LISTING_H_
#define OCIMOUNT_TAR_LISTING_H_

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

namespace ocimount {

struct TarRequest {
  int fd = -1;
  /** Where in the file the archive begins, and its bytes. */
  uint64_t file_offset = 0;
  uint64_t size = 0;
  /** Where in the archive a header is expected. */
  uint64_t start = 0;
  size_t max_members = 0;
};

struct TarListing {
  /**
   * Of each member in order: type character, mode, uid, gid, size, mtime, device offset of its header, major and minor device
   * number, bytes of path and target.
   */
  std::vector<double> numbers;
  /** Path and target of each in turn. */
  std::string names;
};

constexpr size_t kTarNumbers = 11;

/**
 * Lists from `start` on to the first header that is not ordinary, cannot be read or does not end in the archive, or to as many as
 * are wanted. An ordinary member is a file of any kind but a sparse one, with a ustar or GNU header that no other header announces,
 * whose numbers are octal and whose checksum is that of unsigned bytes.
 */
TarListing ListTar(const TarRequest& request);

}  // namespace ocimount

#endif  // OCIMOUNT_TAR_LISTING_H_
