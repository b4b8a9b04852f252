// libFuzzer: an archive of any bytes, listed from any block of it, whose checksums are made right so that the rest is reached.

#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <cstdint>
#include <cstdio>
#include <vector>

#include "tar_listing.h"

namespace {

using namespace ocimount;  // NOLINT

constexpr size_t kBlock = 512;
/** Stands in front of the archive in its file. */
constexpr size_t kLead = 100;

void FixChecksum(uint8_t* header) {
  std::fill_n(header + 148, 8, ' ');
  unsigned sum = 0;
  for (size_t index = 0; index < kBlock; index++) sum += header[index];
  std::snprintf(reinterpret_cast<char*>(header + 148), 7, "%06o", sum);
}

void Check(const TarListing& listing, const TarRequest& request) {
  const std::vector<double>& numbers = listing.numbers;
  if (numbers.size() % kTarNumbers != 0) __builtin_trap();
  if (numbers.size() / kTarNumbers > request.max_members) __builtin_trap();
  uint64_t names = 0;
  double next = static_cast<double>(request.start);
  for (size_t at = 0; at < numbers.size(); at += kTarNumbers) {
    const double offset = numbers[at + 6];
    if (offset != next || offset + kBlock > static_cast<double>(request.size)) __builtin_trap();
    for (size_t index = 0; index < kTarNumbers; index++) {
      if (numbers[at + index] < 0 || numbers[at + index] > 9007199254740991.0) __builtin_trap();
    }
    const uint64_t blocks = (static_cast<uint64_t>(numbers[at + 4]) + kBlock - 1) / kBlock;
    next = offset + static_cast<double>((blocks + 1) * kBlock);
    names += static_cast<uint64_t>(numbers[at + 9] + numbers[at + 10]);
  }
  if (names != listing.names.size()) __builtin_trap();
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  if (size < 4) return 0;
  std::vector<uint8_t> file(kLead);
  file.insert(file.end(), data + 4, data + size);
  for (size_t at = kLead; at + kBlock <= file.size(); at += kBlock) {
    if (data[0] % 8 != 0) FixChecksum(file.data() + at);
  }
  const int fd = memfd_create("archive", MFD_CLOEXEC);
  if (fd < 0 || write(fd, file.data(), file.size()) != static_cast<ssize_t>(file.size())) {
    __builtin_trap();
  }
  // The file may be shorter than it should be, or longer.
  const TarRequest request = {.fd = fd,
                              .file_offset = kLead,
                              .size = size - 4 + data[1] * 8 - std::min<size_t>(size - 4, data[2] * 4),
                              .start = data[3] % 4 * kBlock,
                              .max_members = 1 + data[0] % 64u};
  Check(ListTar(request), request);
  close(fd);
  return 0;
}
