#include "fuse_fixture.h"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <fstream>

#include "fuse_check.h"

extern char** environ;

namespace ocimount::test {

namespace {

/** Only a child that hangs takes as long, on a busy machine and under a sanitizer too. */
constexpr int kChildMs = 240'000;

}  // namespace

std::string data_directory;
std::string program;

void SleepMs(int milliseconds) {
  std::this_thread::sleep_for(std::chrono::milliseconds(milliseconds));
}

std::vector<uint8_t> ReadWhole(const std::string& path) {
  // At once: byte by byte, under TSan, this took longer than all that is tested.
  std::ifstream file(path, std::ios::binary | std::ios::ate);
  std::vector<uint8_t> bytes(static_cast<size_t>(std::max<std::streamoff>(file.tellg(), 0)));
  file.seekg(0);
  file.read(reinterpret_cast<char*>(bytes.data()), static_cast<std::streamsize>(bytes.size()));
  return bytes;
}

void WriteWhole(const std::string& path, const std::vector<uint8_t>& bytes) {
  std::ofstream file(path, std::ios::binary | std::ios::trunc);
  file.write(reinterpret_cast<const char*>(bytes.data()), static_cast<std::streamsize>(bytes.size()));
}

Child::Child(std::vector<std::string> arguments) {
  int ends[2];
  CHECK_EQ(pipe2(ends, O_CLOEXEC), 0);
  posix_spawn_file_actions_t actions;
  posix_spawn_file_actions_init(&actions);
  posix_spawn_file_actions_adddup2(&actions, ends[1], 1);
  arguments.insert(arguments.begin(), {program, "child"});
  std::vector<char*> pointers;
  for (std::string& argument : arguments) pointers.push_back(argument.data());
  pointers.push_back(nullptr);
  CHECK_EQ(posix_spawn(&pid_, program.c_str(), &actions, nullptr, pointers.data(), environ), 0);
  posix_spawn_file_actions_destroy(&actions);
  close(ends[1]);
  output_fd_ = ends[0];
}

Child::~Child() {
  if (status_ < 0) {
    Kill();
    Wait();
  }
  close(output_fd_);
}

void Child::Kill() {
  if (status_ < 0) kill(pid_, SIGKILL);
}

bool Child::WaitFor(int milliseconds) {
  for (int waited = 0; status_ < 0; waited += 5) {
    pollfd ready{output_fd_, POLLIN, 0};
    while (poll(&ready, 1, 0) > 0 && ready.revents & POLLIN) {
      char buffer[65536];
      ssize_t length = read(output_fd_, buffer, sizeof buffer);
      if (length <= 0) break;
      output_.append(buffer, static_cast<size_t>(length));
    }
    int status;
    if (waitpid(pid_, &status, WNOHANG) == pid_) {
      status_ = WIFSIGNALED(status) ? 128 + WTERMSIG(status) : WEXITSTATUS(status);
      char buffer[65536];
      ssize_t length;
      while ((length = read(output_fd_, buffer, sizeof buffer)) > 0) {
        output_.append(buffer, static_cast<size_t>(length));
      }
      break;
    }
    if (waited >= milliseconds) return false;
    SleepMs(5);
  }
  return true;
}

int Child::Wait() {
  CHECK(WaitFor(kChildMs));
  return status_;
}

std::string Run(std::vector<std::string> arguments) {
  Child child(std::move(arguments));
  CHECK_EQ(child.Wait(), 0);
  return child.output();
}

TestHandler::~TestHandler() { Finish(); }

void TestHandler::OnMiss(const MissRun& run) {
  misses += static_cast<int>(run.count);
  std::lock_guard lock(mutex_);
  queue_.push_back(run);
  condition_.notify_one();
}

void TestHandler::OnFault(uint32_t, int, const char*) { faults++; }

void TestHandler::Serve(std::function<void(const MissRun&)> produce) {
  thread_ = std::thread([this, produce = std::move(produce)] {
    for (;;) {
      std::vector<MissRun> taken;
      {
        std::unique_lock lock(mutex_);
        condition_.wait(lock, [this] { return is_finished_ || !queue_.empty(); });
        if (is_finished_) return;
        taken.swap(queue_);
      }
      for (const MissRun& miss : taken) produce(miss);
    }
  });
}

void TestHandler::Finish() {
  {
    std::lock_guard lock(mutex_);
    is_finished_ = true;
    condition_.notify_all();
  }
  if (thread_.joinable()) thread_.join();
}

Devices::Devices() : specs(3) {
  char region[] = "/var/tmp/ocimount-fuse-region-XXXXXX";
  char pieces[] = "/var/tmp/ocimount-fuse-pieces-XXXXXX";
  int region_fd = mkostemp(region, O_CLOEXEC);
  int pieces_fd = mkostemp(pieces, O_CLOEXEC);
  region_path = region;
  pieces_path_ = pieces;
  std::vector<uint8_t> content = ReadWhole(data_directory + "/dev0");
  uint64_t size = content.size();
  // The region begins somewhere inside its file and ends before it.
  content.insert(content.begin(), 777, 'a');
  content.insert(content.end(), 999, 'z');
  WriteWhole(region_path, content);
  source = ReadWhole(data_directory + "/dev1");
  state.assign((source.size() + kPieceSize - 1) / kPieceSize, 0);
  rows_ = ReadWhole(data_directory + "/rows");
  struct stat stat;
  CHECK_EQ(fstat(region_fd, &stat), 0);
  specs[0].kind = DeviceSpec::Kind::kRegion;
  specs[0].size = size;
  specs[0].fd = region_fd;
  specs[0].offset = 777;
  specs[0].file_size = content.size();
  specs[0].mtime_ns = stat.st_mtim.tv_sec * 1000000000LL + stat.st_mtim.tv_nsec;
  specs[0].ctime_ns = stat.st_ctim.tv_sec * 1000000000LL + stat.st_ctim.tv_nsec;
  specs[1].kind = DeviceSpec::Kind::kPieces;
  specs[1].size = source.size();
  specs[1].fd = pieces_fd;
  specs[1].state = state.data();
  specs[1].state_length = state.size();
  CHECK_EQ(stat.st_size, content.size());
  specs[2].kind = DeviceSpec::Kind::kVirtual;
  specs[2].size = 2 * kPieceSize + 5;
  specs[2].bytes = rows_.data();
  specs[2].bytes_length = rows_.size();
}

Devices::~Devices() {
  close(specs[0].fd);
  close(specs[1].fd);
  unlink(region_path.c_str());
  unlink(pieces_path_.c_str());
}

void Devices::Fill(uint64_t piece, uint64_t count) {
  for (uint64_t index = piece; index < piece + count; index++) {
    uint64_t offset = index * kPieceSize;
    uint64_t length = std::min<uint64_t>(kPieceSize, source.size() - offset);
    CHECK_EQ(pwrite(specs[1].fd, source.data() + offset, length, static_cast<off_t>(offset)), length);
    std::atomic_ref<uint8_t>(state[index]).store(2, std::memory_order_release);
  }
}

Mount::Mount(Devices* devices, TestHandler* handler, Image image, bool checks_access,
             unsigned threads) {
  char directory[] = "/var/tmp/ocimount-fuse-mnt-XXXXXX";
  path = mkdtemp(directory);
  FuseServerOptions options;
  options.fd = open("/dev/fuse", O_RDWR | O_CLOEXEC);
  CHECK(options.fd >= 0);
  std::string data = "fd=" + std::to_string(options.fd) +
                     ",rootmode=40000,user_id=0,group_id=0,allow_other";
  if (!checks_access) data += ",default_permissions";
  options.kind = image == Image::kFlat ? FuseServerOptions::Kind::kFlat
                                       : FuseServerOptions::Kind::kErofs;
  if (image != Image::kFlat) {
    metadata_ = ReadWhole(data_directory + (image == Image::kFull ? "/image" : "/plain-image"));
  }
  options.metadata = metadata_.data();
  options.metadata_length = metadata_.size();
  options.devices = devices->specs;
  options.checks_access = checks_access;
  options.threads = threads;
  std::string why;
  server = FuseServer::Start(options, handler, [this] { ended++; }, &why);
  CHECK(server != nullptr);
  if (server == nullptr) {
    std::fprintf(stderr, "%s\n", why.c_str());
    return;
  }
  is_mounted_ = mount("ocimount", path.c_str(), "fuse.ocimount", MS_RDONLY | MS_NODEV | MS_NOSUID,
                      data.c_str()) == 0;
  CHECK(is_mounted_);
}

Mount::~Mount() {
  server = nullptr;
  Unmount(true);
  rmdir(path.c_str());
}

void Mount::Unmount(bool is_lazy) {
  if (is_mounted_) CHECK_EQ(umount2(path.c_str(), is_lazy ? MNT_DETACH : 0), 0);
  is_mounted_ = false;
}

bool Mount::WaitForEnd(int milliseconds) {
  for (int waited = 0; ended == 0 && waited < milliseconds; waited += 5) SleepMs(5);
  return ended == 1;
}

}  // namespace ocimount::test
