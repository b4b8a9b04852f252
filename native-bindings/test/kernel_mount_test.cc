// Locks, holes, and mounts over the server's flat files. Mounts, so it needs root and /dev/fuse; run by run-kernel-mount.

#include <fcntl.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <chrono>
#include <cstdlib>
#include <cstring>
#include <string>
#include <thread>
#include <vector>

#include "../src/fuse_server.h"
#include "../src/kernel_mount.h"
#include "fuse_check.h"

namespace ocimount::test {
namespace {

class NoMisses final : public MissHandler {
 public:
  void OnMiss(const MissRun&) override { CHECK(false); }
  void OnFault(uint32_t, int, const char*) override { CHECK(false); }
};

/** A directory for the time of a test. */
struct Scratch {
  Scratch() {
    char pattern[] = "/var/tmp/ocimount-test-XXXXXX";
    path = mkdtemp(pattern);
    mountpoint = path + "/mnt";
    mkdir(mountpoint.c_str(), 0700);
  }
  ~Scratch() {
    umount2(mountpoint.c_str(), MNT_DETACH);
    rmdir(mountpoint.c_str());
    CHECK_EQ(rmdir(path.c_str()), 0);
  }

  std::string path;
  std::string mountpoint;
};

/** A server of one file of bytes that are no filesystem. */
struct Server {
  explicit Server(int fd) : bytes(10'000, 'x') {
    FuseServerOptions options;
    options.fd = fd;
    options.kind = FuseServerOptions::Kind::kFlat;
    options.threads = 2;
    DeviceSpec& device = options.devices.emplace_back();
    device.size = bytes.size();
    device.bytes = bytes.data();
    device.bytes_length = bytes.size();
    std::string why;
    server = FuseServer::Start(options, &handler, [this] { has_ended = true; }, &why);
    CHECK(server != nullptr);
  }

  bool EndsSoon() const {
    for (int i = 0; i < 500 && !has_ended; ++i) {
      std::this_thread::sleep_for(std::chrono::milliseconds(10));
    }
    return has_ended;
  }

  std::vector<uint8_t> bytes;
  NoMisses handler;
  std::atomic<bool> has_ended{false};
  std::unique_ptr<FuseServer> server;
};

/** Compares in a process of its own, which holds no descriptor of the server. */
bool HasBytes(const std::string& path, const std::vector<uint8_t>& bytes) {
  const pid_t child = fork();
  if (child == 0) {
    std::vector<uint8_t> found(bytes.size());
    const int fd = open(path.c_str(), O_RDONLY);
    const ssize_t length = read(fd, found.data(), found.size());
    _exit(length == static_cast<ssize_t>(bytes.size()) && found == bytes ? 0 : 1);
  }
  int status = -1;
  waitpid(child, &status, 0);
  return status == 0;
}

void LocksAreBetweenDescriptions() {
  char path[] = "/var/tmp/ocimount-test-XXXXXX";
  const int one = mkstemp(path);
  const int other = open(path, O_RDWR | O_CLOEXEC);
  CHECK_EQ(LockFile(one, LockKind::kWrite), 0);
  CHECK_EQ(LockFile(other, LockKind::kRead), EAGAIN);
  CHECK_EQ(LockFile(one, LockKind::kRead), 0);
  CHECK_EQ(LockFile(other, LockKind::kRead), 0);
  CHECK_EQ(LockFile(one, LockKind::kWrite), EAGAIN);
  CHECK_EQ(LockFile(one, LockKind::kNone), 0);
  CHECK_EQ(LockFile(other, LockKind::kWrite), 0);
  CHECK_EQ(LockFile(-1, LockKind::kRead), EBADF);
  close(one);
  close(other);
  unlink(path);
}

void HolesAreBounded() {
  char path[] = "/var/tmp/ocimount-test-XXXXXX";
  const int fd = mkstemp(path);
  const std::vector<char> ones(16 * 4096, 1);
  CHECK_EQ(write(fd, ones.data(), ones.size()), ones.size());
  CHECK_EQ(PunchHole(fd, 4096, 4096), 0);
  char byte = 1;
  CHECK_EQ(pread(fd, &byte, 1, 5000), 1);
  CHECK_EQ(byte, 0);
  struct stat status {};
  fstat(fd, &status);
  CHECK_EQ(status.st_size, ones.size());
  CHECK_EQ(PunchHole(fd, 0, 0), EINVAL);
  CHECK_EQ(PunchHole(fd, UINT64_MAX, 2), EINVAL);
  CHECK_EQ(PunchHole(fd, 2, UINT64_MAX), EINVAL);
  CHECK_EQ(PunchHole(-1, 0, 1), EBADF);
  close(fd);
  unlink(path);
}

void FusermountGetsOneArgument() {
  const FuseMountOptions options = {.fuse_fd = -1,
                                    .mountpoint = "-o",
                                    .fs_name = "a,b\\c",
                                    .allow_other = true,
                                    .flags = {.suid = false, .dev = false, .noexec = true}};
  const std::vector<std::string> arguments = FusermountArguments(options);
  CHECK_EQ(arguments.size(), 4);
  CHECK(arguments[1] ==
        "ro,subtype=ocimount,fsname=a\\,b\\\\c,nosuid,nodev,noexec,allow_other,"
        "default_permissions");
  CHECK(arguments[2] == "--" && arguments[3] == "-o");
}

void MountsFuse() {
  const Scratch scratch;
  const int fd = OpenFuseDevice();
  CHECK(fd >= 0);
  CHECK((fcntl(fd, F_GETFD) & FD_CLOEXEC) != 0);
  FuseMountOptions options = {.fuse_fd = fd,
                              .mountpoint = scratch.path + "/missing",
                              .fs_name = std::string(100'000, 'n'),
                              .allow_other = true,
                              .flags = {}};
  const SystemFailure failure = MountFuse(options);
  CHECK_EQ(failure.error_number, ENOENT);
  CHECK(strcmp(failure.syscall, "mount") == 0);

  options.mountpoint = scratch.mountpoint;
  const Server server(fd);
  CHECK(!MountFuse(options).failed());
  CHECK(HasBytes(scratch.mountpoint + "/0", server.bytes));
  CHECK_EQ(umount2(scratch.mountpoint.c_str(), 0), 0);
  CHECK(server.EndsSoon());
}

/** The kernel refuses the bytes, and nothing of the attempt is left. */
void NoErofsLeavesNothing() {
  const Scratch scratch;
  const int fd = OpenFuseDevice();
  const Server server(fd);
  ErofsMountOptions options = {.fuse_fd = fd,
                               .device_count = 1,
                               .read_ahead_kib = 1024,
                               .place = {.mountpoint = scratch.mountpoint,
                                         .source_link = scratch.path + "/link",
                                         .flags = {}}};
  const SystemFailure failure = MountErofs(options);
  // There is no file 1.
  CHECK_EQ(failure.error_number, ENOENT);
  CHECK(strcmp(failure.syscall, "openat") == 0);
  CHECK(server.EndsSoon());

  const int second_fd = OpenFuseDevice();
  const Server second(second_fd);
  options.fuse_fd = second_fd;
  options.device_count = 0;
  const SystemFailure refused = MountErofs(options);
  CHECK_EQ(refused.error_number, EINVAL);
  CHECK(strcmp(refused.syscall, "fsconfig") == 0);
  CHECK_EQ(access(options.place.source_link.c_str(), F_OK), -1);
  CHECK(second.EndsSoon());
}

void PlainFilesOfNoErofsLeaveNothing() {
  const Scratch scratch;
  const ErofsPlace place = {.mountpoint = scratch.mountpoint,
                            .source_link = scratch.path + "/link",
                            .flags = {}};
  char path[] = "/var/tmp/ocimount-test-XXXXXX";
  const int fd = mkstemp(path);
  unlink(path);
  const std::vector<char> bytes(10'000, 'x');
  CHECK_EQ(write(fd, bytes.data(), bytes.size()), bytes.size());
  const SystemFailure refused = MountErofsFromFiles(fd, {fd}, place);
  CHECK_EQ(refused.error_number, EINVAL);
  CHECK(strcmp(refused.step, "mount EROFS from plain files") == 0);
  CHECK_EQ(access(place.source_link.c_str(), F_OK), -1);
  CHECK_EQ(MountErofsFromFiles(-1, {}, place).error_number, ENOENT);
  close(fd);
}

void NoDeviceIsAnError() {
  ErofsMountOptions options;
  const SystemFailure failure = MountErofs(options);
  CHECK_EQ(failure.error_number, EINVAL);
  CHECK(strcmp(failure.step, "make the FUSE superblock") == 0);
}

const TestCase kTests[] = {
    {"locks are between descriptions", LocksAreBetweenDescriptions},
    {"holes are bounded", HolesAreBounded},
    {"fusermount3 gets one argument", FusermountGetsOneArgument},
    {"mounts FUSE", MountsFuse},
    {"no EROFS leaves nothing", NoErofsLeavesNothing},
    {"plain files of no EROFS leave nothing", PlainFilesOfNoErofsLeaveNothing},
    {"no device is an error", NoDeviceIsAnError},
};

}  // namespace
}  // namespace ocimount::test

int main() {
  for (const auto& test : ocimount::test::kTests) {
    const int before = ocimount::test::failures;
    test.run();
    std::printf("%s %s\n", ocimount::test::failures == before ? "ok" : "not ok", test.name);
  }
  return ocimount::test::failures == 0 ? 0 : 1;
}
