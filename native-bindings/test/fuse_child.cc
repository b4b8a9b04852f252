// Subcommands that touch a mount, for processes of their own: walk, cat, errors, seek, hold.

#include "fuse_child.h"

#include <dirent.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/sysmacros.h>
#include <sys/xattr.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <cstring>
#include <string>
#include <vector>

namespace ocimount::test {

namespace {

/** Not instrumented, since it goes over every byte of an image. */
[[gnu::no_sanitize("address", "thread", "undefined")]]
uint64_t HashOf(const char* bytes, size_t length, uint64_t hash = 0xcbf29ce484222325) {
  for (size_t index = 0; index < length; index++) {
    hash = (hash ^ static_cast<uint8_t>(bytes[index])) * 0x100000001b3;
  }
  return hash;
}

/** What a walk reads into is kept for all its files: to clear it for each of 40,000 took most of the time. */
constexpr size_t kLargestStep = 1 << 20;

/** Reads a file by requests of at most `step` bytes; gives a hash, or the errno. */
std::string ContentOf(const std::string& path, size_t step) {
  int fd = open(path.c_str(), O_RDONLY | O_CLOEXEC);
  if (fd < 0) return "errno " + std::to_string(errno);
  static std::vector<char> buffer(kLargestStep);
  uint64_t hash = HashOf(nullptr, 0);
  ssize_t length;
  while ((length = read(fd, buffer.data(), step)) > 0) {
    hash = HashOf(buffer.data(), static_cast<size_t>(length), hash);
  }
  std::string result = length < 0 ? "errno " + std::to_string(errno) : std::to_string(hash);
  close(fd);
  return result;
}

void PrintXattrs(const std::string& path) {
  static std::vector<char> names(1 << 16);
  static std::vector<char> value(1 << 16);
  ssize_t length = llistxattr(path.c_str(), names.data(), names.size());
  // The kernel's EROFS has nothing to list; FUSE without any attribute has no such call.
  if (length < 0 && errno == EOPNOTSUPP) length = 0;
  if (length < 0) std::printf(" list-errno=%d", errno);
  std::vector<std::string> found;
  for (ssize_t at = 0; at < length;) {
    std::string name(names.data() + at);
    at += static_cast<ssize_t>(name.size()) + 1;
    ssize_t size = lgetxattr(path.c_str(), name.c_str(), value.data(), value.size());
    uint64_t hash = size < 0 ? 0 : HashOf(value.data(), static_cast<size_t>(size));
    found.push_back(" " + name + "=" + std::to_string(size) + ":" + std::to_string(hash));
  }
  for (const std::string& line : found) std::printf("%s", line.c_str());
}

void WalkInto(const std::string& root, const std::string& path, bool reads) {
  std::string full = root + path;
  struct stat s;
  if (lstat(full.c_str(), &s) != 0) {
    std::printf("%s errno %d\n", path.c_str(), errno);
    return;
  }
  std::printf("%s mode=%o uid=%u gid=%u size=%lld ino=%llu nlink=%llu rdev=%u:%u blocks=%lld "
              "mtime=%lld.%ld ctime=%lld.%ld atime=%lld",
              path.c_str(), s.st_mode, s.st_uid, s.st_gid, static_cast<long long>(s.st_size),
              static_cast<unsigned long long>(s.st_ino),
              static_cast<unsigned long long>(s.st_nlink), major(s.st_rdev), minor(s.st_rdev),
              static_cast<long long>(s.st_blocks), static_cast<long long>(s.st_mtim.tv_sec),
              s.st_mtim.tv_nsec, static_cast<long long>(s.st_ctim.tv_sec), s.st_ctim.tv_nsec,
              static_cast<long long>(s.st_atim.tv_sec));
  PrintXattrs(full);
  if (S_ISLNK(s.st_mode)) {
    char target[8192];
    ssize_t length = readlink(full.c_str(), target, sizeof target);
    std::printf(" -> %.*s", static_cast<int>(std::max<ssize_t>(length, 0)), target);
  }
  if (S_ISREG(s.st_mode) && reads) {
    std::printf(" %s %s", ContentOf(full, kLargestStep).c_str(), ContentOf(full, 70001).c_str());
  }
  std::printf("\n");
  if (!S_ISDIR(s.st_mode)) return;
  DIR* directory = opendir(full.c_str());
  if (directory == nullptr) {
    std::printf("%s opendir errno %d\n", path.c_str(), errno);
    return;
  }
  std::vector<std::string> names;
  errno = 0;
  while (dirent* entry = readdir(directory)) {
    std::string name = entry->d_name;
    std::printf(" %s/%s type=%d ino=%llu\n", path.c_str(), entry->d_name, entry->d_type,
                static_cast<unsigned long long>(entry->d_ino));
    if (name != "." && name != "..") names.push_back(name);
  }
  if (errno != 0) std::printf("%s readdir errno %d\n", path.c_str(), errno);
  closedir(directory);
  for (const std::string& name : names) WalkInto(root, path + "/" + name, reads);
}

void Print(const char* what, long result) {
  std::printf("%s %ld %s\n", what, result, result < 0 ? strerrorname_np(errno) : "ok");
}

/** Calls that fail, and some that do not. */
void Errors(const std::string& root) {
  auto at = [&](const char* name) { return root + "/" + name; };
  char buffer[256];
  struct stat s;
  struct statvfs v;
  Print("stat absent", lstat(at("absent").c_str(), &s));
  Print("stat absent again", lstat(at("absent").c_str(), &s));
  Print("stat below a file", lstat(at("hello/x").c_str(), &s));
  Print("stat long name", lstat(at(std::string(256, 'n').c_str()).c_str(), &s));
  Print("read a directory", open(at("bare").c_str(), O_WRONLY));
  Print("open for writing", open(at("hello").c_str(), O_WRONLY));
  Print("create", open(at("new").c_str(), O_CREAT | O_RDWR, 0644));
  Print("mkdir", mkdir(at("new").c_str(), 0755));
  Print("unlink", unlink(at("hello").c_str()));
  Print("rmdir", rmdir(at("bare").c_str()));
  Print("rename", rename(at("hello").c_str(), at("new").c_str()));
  Print("link", link(at("hello").c_str(), at("new").c_str()));
  Print("symlink", symlink("x", at("new").c_str()));
  Print("chmod", chmod(at("hello").c_str(), 0600));
  Print("chown", chown(at("hello").c_str(), 1, 1));
  Print("truncate", truncate(at("hello").c_str(), 0));
  Print("utimens", utimensat(AT_FDCWD, at("hello").c_str(), nullptr, 0));
  Print("setxattr", setxattr(at("hello").c_str(), "user.new", "x", 1, 0));
  Print("removexattr", removexattr(at("hello").c_str(), "user.a"));
  Print("readlink of a file", readlink(at("hello").c_str(), buffer, sizeof buffer));
  Print("access R", access(at("hello").c_str(), R_OK));
  Print("access W", access(at("hello").c_str(), W_OK));
  Print("access X of a file", access(at("hello").c_str(), X_OK));
  Print("access X of a program", access(at("program").c_str(), X_OK));
  Print("getxattr", getxattr(at("hello").c_str(), "user.a", buffer, sizeof buffer));
  Print("getxattr size", getxattr(at("hello").c_str(), "user.a", nullptr, 0));
  Print("getxattr small", getxattr(at("hello").c_str(), "user.a", buffer, 2));
  Print("getxattr absent", getxattr(at("hello").c_str(), "user.none", buffer, sizeof buffer));
  Print("getxattr none", getxattr(at("empty").c_str(), "user.none", buffer, sizeof buffer));
  Print("getxattr empty", getxattr(at("xattrs").c_str(), "user.empty", buffer, sizeof buffer));
  Print("getxattr large small", getxattr(at("xattrs").c_str(), "user.large", buffer, 10));
  Print("listxattr size", listxattr(at("hello").c_str(), nullptr, 0));
  Print("listxattr small", listxattr(at("hello").c_str(), buffer, 3));
  Print("listxattr none", listxattr(at("bare").c_str(), buffer, sizeof buffer));
  Print("statvfs", statvfs(root.c_str(), &v));
  int fd = open(at("hello").c_str(), O_RDONLY);
  Print("read behind the end", pread(fd, buffer, 10, 1000));
  Print("read over the end", pread(fd, buffer, 100, 950));
  Print("fsync", fsync(fd));
  close(fd);
}

void Seek(const std::string& path) {
  int fd = open(path.c_str(), O_RDONLY);
  for (off_t offset : {0, 1, 4095, 4096, 8191, 8192, 1 << 20, (1 << 20) + 8192, 20 << 20}) {
    long long data = lseek(fd, offset, SEEK_DATA);
    int data_errno = data < 0 ? errno : 0;
    long long hole = lseek(fd, offset, SEEK_HOLE);
    std::printf("%lld: %lld %d %lld %d\n", static_cast<long long>(offset), data, data_errno, hole,
                hole < 0 ? errno : 0);
  }
  close(fd);
}

}  // namespace

int RunChild(const std::vector<std::string>& arguments) {
  const std::string& command = arguments.at(0);
  const std::string& path = arguments.at(1);
  if (command == "walk") {
    WalkInto(path, "", true);
  } else if (command == "list") {
    WalkInto(path, "", false);
  } else if (command == "errors") {
    Errors(path);
  } else if (command == "seek") {
    Seek(path);
  } else if (command == "cat") {
    std::printf("%s\n", ContentOf(path, kLargestStep).c_str());
  } else if (command == "pread") {
    // Around the page cache, so that the read is the reader's own and can be interrupted.
    int fd = open(path.c_str(), O_RDONLY | O_DIRECT);
    static char buffer[4096] __attribute__((aligned(4096)));
    ssize_t length = pread(fd, buffer, sizeof buffer, std::stoll(arguments.at(2)));
    std::printf("%s\n", length < 0 ? strerrorname_np(errno) : std::to_string(length).c_str());
  } else {
    return 2;
  }
  return 0;
}

}  // namespace ocimount::test
