// Throughput of one large file, as the flat kind serves it: by the server as it is, and by a bare loop that splices. Splicing
// hands the kernel pages of the file, not bytes: what is in them may change after the file's identity was
// compared, so the server copies. This tells what that costs.

#include <fcntl.h>
#include <sys/mount.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include <chrono>
#include <cstring>

#include "flat_filesystem.h"
#include "fuse_channel.h"
#include "fuse_dispatch.h"
#include "fuse_fixture.h"
#include "fuse_tests.h"

namespace ocimount::test {

namespace {

using Clock = std::chrono::steady_clock;

void DropCaches() {
  int fd = open("/proc/sys/vm/drop_caches", O_WRONLY | O_CLOEXEC);
  if (fd >= 0 && write(fd, "1", 1) < 0) std::perror("drop_caches");
  if (fd >= 0) close(fd);
}

/** Only the page cache of the mount: the file below it stays warm. */
void DropMount(const std::string& path) {
  int fd = open(path.c_str(), O_RDONLY | O_CLOEXEC);
  posix_fadvise(fd, 0, 0, POSIX_FADV_DONTNEED);
  close(fd);
}

double ReadAll(const std::string& path) {
  static std::vector<char> buffer(1 << 20);
  Clock::time_point start = Clock::now();
  int fd = open(path.c_str(), O_RDONLY | O_CLOEXEC);
  double bytes = 0;
  ssize_t length;
  while ((length = read(fd, buffer.data(), buffer.size())) > 0) bytes += static_cast<double>(length);
  close(fd);
  return bytes / 1e6 / std::chrono::duration<double>(Clock::now() - start).count();
}

double CpuSeconds() {
  rusage usage;
  getrusage(RUSAGE_SELF, &usage);
  return static_cast<double>(usage.ru_utime.tv_sec + usage.ru_stime.tv_sec) +
         static_cast<double>(usage.ru_utime.tv_usec + usage.ru_stime.tv_usec) / 1e6;
}

void Rounds(const char* what, const std::string& file, const std::string& below) {
  DropCaches();
  DropMount(file);
  double cold = ReadAll(file);
  ReadAll(below);
  double cpu = CpuSeconds();
  double warm_below = 0;
  for (int round = 0; round < 3; round++) {
    DropMount(file);
    warm_below = std::max(warm_below, ReadAll(file));
  }
  cpu = (CpuSeconds() - cpu) / 3;
  std::printf("%-16s cold %6.0f MB/s, file warm %6.0f MB/s (%.2f s of processor), all warm %6.0f MB/s\n",
              what, cold, warm_below, cpu, ReadAll(file));
}

/** A worker that answers reads by splicing from the file through a pipe. */
void SpliceLoop(FuseChannel* channel, int fuse_fd, int file_fd, const FuseDispatcher& dispatcher,
                FuseSession* session) {
  int ends[2];
  if (pipe2(ends, O_CLOEXEC) != 0) return;
  // The largest that an ordinary user may have; a reply of 1 MiB with its header would be a page more than fits.
  if (fcntl(ends[0], F_SETPIPE_SZ, 1 << 20) < 0) std::perror("F_SETPIPE_SZ");
  std::vector<uint8_t> in(kMaxRequestSize);
  std::vector<uint8_t> out(kMaxReadSize);
  for (;;) {
    ssize_t length = channel->Receive(in.data(), in.size());
    if (length == -ENODEV) break;
    FuseRequest request;
    if (length < 0 || !request.Parse(in.data(), static_cast<size_t>(length))) continue;
    if (IsUnanswered(request.opcode())) continue;
    FuseReply reply(out.data(), out.size());
    fuse_out_header header{};
    header.unique = request.header().unique;
    fuse_read_in read;
    if (request.opcode() == FUSE_READ && request.Args(&read)) {
      struct stat s;
      fstat(file_fd, &s);
      uint64_t left = read.offset < static_cast<uint64_t>(s.st_size) ? s.st_size - read.offset : 0;
      size_t wanted = std::min<uint64_t>(read.size, left);
      header.len = static_cast<uint32_t>(sizeof header + wanted);
      iovec part{&header, sizeof header};
      if (vmsplice(ends[1], &part, 1, 0) < 0) break;
      loff_t offset = static_cast<loff_t>(read.offset);
      for (size_t done = 0; done < wanted;) {
        ssize_t moved = splice(file_fd, &offset, ends[1], nullptr, wanted - done, 0);
        if (moved <= 0) return;
        done += static_cast<size_t>(moved);
      }
      fstat(file_fd, &s);
      if (splice(ends[0], nullptr, fuse_fd, nullptr, header.len, SPLICE_F_MOVE) < 0) {
        std::perror("splice");
        return;
      }
      continue;
    }
    int error = request.opcode() == FUSE_INIT ? session->Negotiate(request, false, &reply)
                                              : dispatcher.Answer(request, &reply);
    header.len = static_cast<uint32_t>(sizeof header + (error == 0 ? reply.size() : 0));
    header.error = -error;
    iovec parts[] = {{&header, sizeof header}, {reply.data(), header.len - sizeof header}};
    channel->Send(parts, 2);
  }
  close(ends[0]);
  close(ends[1]);
}

class Faults final : public FaultSink {
  void OnFault(uint32_t, int, const char*) override {}
};

struct Mounted {
  std::string path;
  int fd;
  Mounted() {
    char directory[] = "/var/tmp/ocimount-fuse-speed-XXXXXX";
    path = mkdtemp(directory);
    fd = open("/dev/fuse", O_RDWR | O_CLOEXEC);
  }
  void Attach() {
    std::string data = "fd=" + std::to_string(fd) + ",rootmode=40000,user_id=0,group_id=0";
    if (mount("speed", path.c_str(), "fuse", MS_RDONLY, data.c_str()) != 0) std::perror("mount");
  }
  /** Only after INIT was answered, which sets it anew. */
  void SetReadAhead(const char* kib) {
    struct stat s;
    if (stat((path + "/0").c_str(), &s) != 0) std::perror("stat");
    std::string bdi = "/sys/class/bdi/" + std::to_string(s.st_dev >> 8) + ":" +
                      std::to_string(s.st_dev & 0xff) + "/read_ahead_kb";
    int file = open(bdi.c_str(), O_WRONLY | O_CLOEXEC);
    if (file < 0 || write(file, kib, strlen(kib)) < 0) std::perror(bdi.c_str());
    close(file);
  }
  ~Mounted() {
    umount2(path.c_str(), MNT_DETACH);
    rmdir(path.c_str());
  }
};

}  // namespace

void Measure(const char* path) {
  struct stat s;
  int file_fd = open(path, O_RDONLY | O_CLOEXEC);
  if (file_fd < 0 || fstat(file_fd, &s) != 0) {
    std::perror(path);
    return;
  }
  DeviceSpec spec;
  spec.kind = DeviceSpec::Kind::kRegion;
  spec.fd = file_fd;
  spec.size = spec.file_size = static_cast<uint64_t>(s.st_size);
  spec.mtime_ns = s.st_mtim.tv_sec * 1000000000LL + s.st_mtim.tv_nsec;
  spec.ctime_ns = s.st_ctim.tv_sec * 1000000000LL + s.st_ctim.tv_nsec;
  DropCaches();
  double cold = ReadAll(path);
  std::printf("%-16s cold %6.0f MB/s, warm %6.0f MB/s\n", "the file", cold, ReadAll(path));
  struct Case {
    const char* name;
    unsigned threads;
    const char* read_ahead;
  };
  for (const Case& c : {Case{"pread, 1, 512K", 1, "512"}, Case{"pread, 1, 1M", 1, "1024"},
                        Case{"pread, 4, 1M", 4, "1024"}}) {
    Mounted mounted;
    FuseServerOptions options;
    options.fd = mounted.fd;
    options.kind = FuseServerOptions::Kind::kFlat;
    options.devices = {spec};
    options.threads = c.threads;
    TestHandler handler;
    std::string why;
    auto server = FuseServer::Start(options, &handler, [] {}, &why);
    mounted.Attach();
    mounted.SetReadAhead(c.read_ahead);
    Rounds(c.name, mounted.path + "/0", path);
  }
  Mounted mounted;
  Faults faults;
  std::string why;
  auto devices = DeviceSet::Open({spec}, &faults, &why);
  FlatFilesystem filesystem(devices.get());
  FuseSession session;
  FuseDispatcher dispatcher(filesystem, session, false);
  auto channel = FuseDeviceChannel::Open(mounted.fd);
  mounted.Attach();
  std::thread loop(
      [&] { SpliceLoop(channel.get(), mounted.fd, file_fd, dispatcher, &session); });
  mounted.SetReadAhead("512");
  Rounds("splice, 1, 512K", mounted.path + "/0", path);
  umount2(mounted.path.c_str(), MNT_DETACH);
  loop.join();
}

}  // namespace ocimount::test
