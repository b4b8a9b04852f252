#include "tar_listing.h"

#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <memory>
#include <string_view>

namespace ocimount {
namespace {

constexpr uint64_t kBlock = 512;
/** What the kernel's dev_t can hold. */
constexpr uint64_t kMaxMajor = 0xfff;
constexpr uint64_t kMaxMinor = 0xfffff;
/**
 * Among small files a large window holds many headers, among large files a small one wastes nothing. Of the two layers of a Debian
 * image in memory, 17,639 headers in 585 MB, listing took with a window of at most 64 KiB that grows where headers lie closer than
 * 1 KiB 30 ms, 2 KiB 30 ms, 4 KiB 28 ms; up to 1 MiB with 8 KiB 34 ms.
 */
constexpr uint64_t kMinWindow = 4 * 1024;
constexpr uint64_t kMaxWindow = 64 * 1024;
constexpr uint64_t kDense = 4 * 1024;

/** Gives the header blocks, from windows whose length adapts to how far headers lie apart. */
class Headers {
 public:
  explicit Headers(const TarRequest& request)
      : request_(request), bytes_(std::make_unique_for_overwrite<uint8_t[]>(kMaxWindow)) {}

  /** Gives nothing where the block cannot be read or is not whole. */
  const uint8_t* At(uint64_t offset) {
    if (offset > request_.size || request_.size - offset < kBlock) return nullptr;
    if (offset < begin_ || offset + kBlock > end_) {
      Adapt(offset);
      begin_ = offset;
      end_ = offset + Read(offset, std::min(window_, request_.size - offset));
      found_ = 0;
      if (end_ - begin_ < kBlock) return nullptr;
    }
    found_++;
    return bytes_.get() + (offset - begin_);
  }

 private:
  void Adapt(uint64_t offset) {
    if (found_ == 0) return;
    const uint64_t stride = (offset - begin_) / found_;
    if (found_ == 1 || stride > 2 * kDense) {
      window_ = std::max(window_ / 2, kMinWindow);
    } else if (stride < kDense) {
      window_ = std::min(window_ * 2, kMaxWindow);
    }
  }

  uint64_t Read(uint64_t offset, uint64_t length) {
    uint64_t done = 0;
    while (done < length) {
      const ssize_t count = pread(request_.fd, bytes_.get() + done, length - done,
                                  static_cast<off_t>(request_.file_offset + offset + done));
      if (count < 0 && errno == EINTR) continue;
      if (count <= 0) break;
      done += static_cast<uint64_t>(count);
    }
    return done;
  }

  const TarRequest& request_;
  std::unique_ptr<uint8_t[]> bytes_;
  uint64_t begin_ = 0;
  uint64_t end_ = 0;
  uint64_t window_ = 4 * kMinWindow;
  uint64_t found_ = 0;
};

/** Reads octal digits with spaces before and blanks behind, or blanks alone; false for a field that is written otherwise. */
bool ReadOctal(const uint8_t* field, size_t length, uint64_t* value) {
  size_t index = 0;
  while (index < length && field[index] == ' ') index++;
  *value = 0;
  for (; index < length && field[index] >= '0' && field[index] <= '7'; index++) {
    *value = *value * 8 + (field[index] - '0');
  }
  for (; index < length; index++) {
    if (field[index] != 0 && field[index] != ' ') return false;
  }
  return true;
}

bool IsChecksumRight(const uint8_t* header) {
  uint64_t stored = 0;
  if (!ReadOctal(header + 148, 8, &stored)) return false;
  uint64_t sum = 8 * ' ';
  for (size_t index = 0; index < kBlock; index++) {
    if (index < 148 || index >= 156) sum += header[index];
  }
  return sum == stored;
}

std::string_view Text(const uint8_t* field, size_t length) {
  const char* text = reinterpret_cast<const char*>(field);
  return {text, strnlen(text, length)};
}

/** Takes the path; false for a dialect with more to it. */
bool ReadPath(const uint8_t* header, std::string* path) {
  const std::string_view magic(reinterpret_cast<const char*>(header + 257), 8);
  path->clear();
  if (magic.starts_with(std::string_view("ustar\0", 6))) {
    // STAR has two times where the end of the prefix would be.
    if (std::memcmp(header + 508, "tar", 4) == 0) return false;
    const std::string_view prefix = Text(header + 345, 155);
    if (!prefix.empty()) path->append(prefix).append(1, '/');
  } else if (magic == std::string_view("ustar  \0", 8)) {
    // Two times, or a prefix by mistake.
    if (header[345] != 0 || header[357] != 0) return false;
  } else {
    return false;
  }
  const std::string_view name = Text(header, 100);
  if (name.empty()) return false;
  path->append(name);
  return true;
}

/** Appends the member; gives false, and appends nothing, for one that is not ordinary. */
bool List(const uint8_t* header, uint64_t offset, TarListing* listing, uint64_t* content) {
  const char type = static_cast<char>(header[156]);
  const bool is_link = type == '1' || type == '2';
  const bool is_device = type == '3' || type == '4';
  if (type < '0' || type > '6') return false;
  uint64_t mode = 0, uid = 0, gid = 0, size = 0, mtime = 0, major = 0, minor = 0;
  const bool is_ordinary =
      ReadOctal(header + 100, 8, &mode) && ReadOctal(header + 108, 8, &uid) &&
      ReadOctal(header + 116, 8, &gid) && ReadOctal(header + 124, 12, &size) &&
      ReadOctal(header + 136, 12, &mtime) && ReadOctal(header + 329, 8, &major) &&
      ReadOctal(header + 337, 8, &minor) && IsChecksumRight(header);
  std::string path;
  if (!is_ordinary || !ReadPath(header, &path)) return false;
  if (is_device && (major > kMaxMajor || minor > kMaxMinor)) return false;
  // Before there was a type for directories, the slash made one.
  if (type == '0' && path.back() == '/') return false;
  const std::string_view target = is_link ? Text(header + 157, 100) : std::string_view();
  *content = type == '0' ? size : 0;
  const uint64_t numbers[kTarNumbers] = {static_cast<uint64_t>(type),
                                         mode % 010000,
                                         uid,
                                         gid,
                                         *content,
                                         mtime,
                                         offset,
                                         is_device ? major : 0,
                                         is_device ? minor : 0,
                                         path.size(),
                                         target.size()};
  for (const uint64_t number : numbers) {
    listing->numbers.push_back(static_cast<double>(number));
  }
  listing->names.append(path).append(target);
  return true;
}

}  // namespace

TarListing ListTar(const TarRequest& request) {
  TarListing listing;
  Headers headers(request);
  uint64_t offset = request.start;
  for (size_t count = 0; count < request.max_members; count++) {
    const uint8_t* header = headers.At(offset);
    uint64_t content = 0;
    if (header == nullptr || !List(header, offset, &listing, &content)) break;
    offset += kBlock + (content + kBlock - 1) / kBlock * kBlock;
  }
  return listing;
}

}  // namespace ocimount
