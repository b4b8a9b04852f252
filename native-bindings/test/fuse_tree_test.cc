// The tree as programs see it, next to the kernel's own EROFS mount of the same image.

#include <fcntl.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cstring>
#include <sstream>

#include "fuse_fixture.h"
#include "fuse_tests.h"

namespace ocimount::test {

namespace {

/** The kernel's mount of an image, or nothing where it cannot. */
class KernelMount {
 public:
  explicit KernelMount(const std::string& image) {
    char directory[] = "/var/tmp/ocimount-fuse-erofs-XXXXXX";
    path = mkdtemp(directory);
    std::string data;
    for (int index = 0; index < 3; index++) {
      std::string name = data_directory + "/padded" + std::to_string(index);
      std::vector<uint8_t> bytes = ReadWhole(data_directory + "/dev" + std::to_string(index));
      bytes.resize((bytes.size() + 4095) / 4096 * 4096);
      WriteWhole(name, bytes);
      data += (index == 0 ? "device=" : ",device=") + name;
    }
    is_mounted = mount((data_directory + "/" + image).c_str(), path.c_str(), "erofs", MS_RDONLY,
                       data.c_str()) == 0;
  }
  ~KernelMount() {
    if (is_mounted) umount2(path.c_str(), MNT_DETACH);
    rmdir(path.c_str());
  }

  std::string path;
  bool is_mounted = false;
};

void CheckSame(const std::string& actual, const std::string& expected) {
  if (actual == expected) return;
  std::istringstream a(actual);
  std::istringstream b(expected);
  std::string line_a;
  std::string line_b;
  for (int shown = 0; shown < 5 && (a || b);) {
    std::getline(a, line_a);
    std::getline(b, line_b);
    if (line_a == line_b) continue;
    std::fprintf(stderr, "  got  %.600s\n  want %.600s\n", line_a.c_str(), line_b.c_str());
    shown++;
  }
  CHECK(actual == expected);
}

void CompareWithKernel(Mount::Image image, const char* file) {
  Devices devices;
  devices.FillAll();
  TestHandler handler;
  KernelMount kernel(file);
  Mount mount(&devices, &handler, image);
  if (!kernel.is_mounted) {
    std::fprintf(stderr, "skipped: this kernel does not mount EROFS from files\n");
    return;
  }
  std::string expected = Run({"walk", kernel.path});
  CheckSame(Run({"walk", mount.path}), expected);
  CHECK(std::count(expected.begin(), expected.end(), '\n') > 40000);
  CHECK_EQ(handler.misses, 0);
  CHECK_EQ(handler.faults, 0);
  mount.Unmount();
  CHECK(mount.WaitForEnd());
}

void FullImage() { CompareWithKernel(Mount::Image::kFull, "image"); }
void PlainImage() { CompareWithKernel(Mount::Image::kPlain, "plain-image"); }

bool Has(const std::string& text, const std::string& line) {
  bool has = text.find(line) != std::string::npos;
  if (!has) std::fprintf(stderr, "missing: %s\n", line.c_str());
  return has;
}

void ErrnosOf(bool checks_access) {
  Devices devices;
  devices.FillAll();
  TestHandler handler;
  Mount mount(&devices, &handler, Mount::Image::kFull, checks_access);
  std::string output = Run({"errors", mount.path});
  for (const char* line :
       {"stat absent -1 ENOENT", "stat absent again -1 ENOENT", "stat below a file -1 ENOTDIR",
        "stat long name -1 ENAMETOOLONG", "read a directory -1 EISDIR", "open for writing -1 EROFS",
        "create -1 EROFS", "mkdir -1 EROFS", "unlink -1 EROFS", "rmdir -1 EROFS",
        "rename -1 EROFS", "link -1 EROFS", "symlink -1 EROFS", "chmod -1 EROFS",
        "chown -1 EROFS", "truncate -1 EROFS", "utimens -1 EROFS", "setxattr -1 EROFS",
        "removexattr -1 EROFS", "readlink of a file -1 EINVAL", "access R 0", "access W -1 EROFS",
        "access X of a file -1 EACCES", "access X of a program 0", "getxattr 7 ok",
        "getxattr size 7 ok", "getxattr small -1 ERANGE", "getxattr absent -1 ENODATA",
        "getxattr none -1 ENODATA", "getxattr empty 0 ok", "getxattr large small -1 ERANGE",
        "listxattr size 19 ok", "listxattr small -1 ERANGE", "listxattr none 0 ok", "statvfs 0 ok",
        "read behind the end 0 ok", "read over the end 50 ok", "fsync 0 ok"}) {
    CHECK(Has(output, line));
  }
}

void Errnos() { ErrnosOf(false); }
void ErrnosWithOwnAccess() { ErrnosOf(true); }

/** After `mount -o remount,rw` the kernel asks, and we refuse. */
void Remounted() {
  Devices devices;
  devices.FillAll();
  TestHandler handler;
  Mount mount(&devices, &handler);
  CHECK_EQ(::mount("ocimount", mount.path.c_str(), nullptr, MS_REMOUNT | MS_NODEV, ""), 0);
  std::string output = Run({"errors", mount.path});
  for (const char* line :
       {"create -1 EROFS", "mkdir -1 EROFS", "unlink -1 EROFS", "rmdir -1 EROFS",
        "rename -1 EROFS", "link -1 EROFS", "symlink -1 EROFS", "chmod -1 EROFS",
        "truncate -1 EROFS", "utimens -1 EROFS", "setxattr -1 EROFS", "removexattr -1 EROFS"}) {
    CHECK(Has(output, line));
  }
}

void SparseSeek() {
  Devices devices;
  devices.FillAll();
  TestHandler handler;
  Mount mount(&devices, &handler);
  CHECK(Run({"seek", mount.path + "/sparse"}) ==
        "0: 4096 0 0 0\n1: 4096 0 1 0\n4095: 4096 0 4095 0\n4096: 4096 0 8192 0\n"
        "8191: 8191 0 8192 0\n8192: 1048576 0 8192 0\n1048576: 1048576 0 1056768 0\n"
        "1056768: 16777216 0 1056768 0\n20971520: -1 6 -1 6\n");
  CHECK(Run({"seek", mount.path + "/hole"}).starts_with("0: -1 6 0 0\n"));
}

void FlatFiles() {
  Devices devices;
  devices.FillAll();
  DeviceSpec memory;
  std::vector<uint8_t> bytes(5000, 'm');
  memory.size = bytes.size();
  memory.bytes = bytes.data();
  memory.bytes_length = bytes.size();
  devices.specs.push_back(memory);
  devices.specs.push_back(DeviceSpec{});
  TestHandler handler;
  Mount mount(&devices, &handler, Mount::Image::kFlat);
  KernelMount kernel("image");
  for (const char* number : {"0", "1", "2"}) {
    std::string padded = data_directory + "/padded" + number;
    CHECK(Run({"cat", mount.path + "/" + number}) == Run({"cat", padded}));
  }
  std::string listing = Run({"walk", mount.path});
  CHECK(Has(listing, "/3 mode=100444 uid=0 gid=0 size=8192 "));
  CHECK(Has(listing, "/4 mode=100444 uid=0 gid=0 size=0 "));
  CHECK(Has(listing, " /. type=4 ino=1\n /.. type=4 ino=1\n /0 type=8 ino=2\n"));
  CHECK(Run({"list", mount.path + "/5"}).find("errno 2") != std::string::npos);
  CHECK(Run({"list", mount.path + "/00"}).find("errno 2") != std::string::npos);
  mount.Unmount();
  CHECK(mount.WaitForEnd());
}

/** A changed or cut archive: EIO for good, one word to the log. */
void ChangedRegion() {
  for (bool is_cut : {false, true}) {
    Devices devices;
    devices.FillAll();
    TestHandler handler;
    Mount mount(&devices, &handler);
    CHECK(!Run({"cat", mount.path + "/hello"}).starts_with("errno"));
    int fd = open(devices.region_path.c_str(), O_WRONLY | O_CLOEXEC);
    if (is_cut) {
      CHECK_EQ(ftruncate(fd, 100000), 0);
    } else {
      CHECK_EQ(pwrite(fd, "x", 1, 3000000), 1);
    }
    close(fd);
    CHECK(Run({"cat", mount.path + "/region"}) == "errno 5\n");
    CHECK(Run({"cat", mount.path + "/many/file-7"}) == "errno 5\n");
    CHECK_EQ(handler.faults, 1);
    CHECK(!Run({"cat", mount.path + "/pieces"}).starts_with("errno"));
  }
}

void FailedDevice() {
  Devices devices;
  devices.FillAll();
  TestHandler handler;
  Mount mount(&devices, &handler);
  mount.server->Fail(1, -EIO);
  CHECK(Run({"cat", mount.path + "/pieces"}) == "errno 5\n");
  CHECK(Run({"cat", mount.path + "/virtual"}) == "errno 5\n");
  CHECK(!Run({"cat", mount.path + "/region"}).starts_with("errno"));
  CHECK_EQ(handler.faults, 0);
}

}  // namespace

const std::vector<TestCase> kTreeTests = {
    {"an image next to the kernel's mount of it", FullImage},
    {"an image without xattrs next to the kernel's mount of it", PlainImage},
    {"errno of each call", Errnos},
    {"errno of each call where the server checks access", ErrnosWithOwnAccess},
    {"errno of each call after a remount for writing", Remounted},
    {"holes are found by lseek", SparseSeek},
    {"devices as flat files", FlatFiles},
    {"a changed archive", ChangedRegion},
    {"a failed device", FailedDevice},
};

}  // namespace ocimount::test
