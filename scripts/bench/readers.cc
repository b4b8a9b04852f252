// Many readers at once: THREADS threads, each of which reads READS blocks of 4 KiB at random places of the files below
// DIR, the same places in every run. The files are opened before the clock starts.
//   readers DIR THREADS READS        prints {"files", "reads", "seconds"}

#include <fcntl.h>
#include <ftw.h>
#include <sys/resource.h>
#include <unistd.h>

#include <atomic>
#include <chrono>
#include <cinttypes>
#include <cstdio>
#include <cstdlib>
#include <latch>
#include <random>
#include <thread>
#include <vector>

namespace {

constexpr off_t kBlock = 4096;

struct Block {
  int fd;
  off_t offset;
};

std::vector<Block> blocks;
int files = 0;

int AddFile(const char* path, const struct stat* status, int type, struct FTW*) {
  if (type != FTW_F || !S_ISREG(status->st_mode) || status->st_size < kBlock) return 0;
  int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
  if (fd < 0) {
    std::perror(path);
    return -1;
  }
  files++;
  for (off_t at = 0; at + kBlock <= status->st_size; at += kBlock) blocks.push_back({fd, at});
  return 0;
}

}  // namespace

int main(int argc, char** argv) {
  if (argc != 4) return 2;
  const int threads = std::atoi(argv[2]);
  const int reads = std::atoi(argv[3]);
  rlimit limit;
  if (getrlimit(RLIMIT_NOFILE, &limit) == 0) {
    limit.rlim_cur = limit.rlim_max;
    setrlimit(RLIMIT_NOFILE, &limit);
  }
  if (nftw(argv[1], AddFile, 64, FTW_PHYS | FTW_MOUNT) != 0 || blocks.empty()) return 1;

  std::atomic<bool> failed = false;
  std::latch start(threads + 1);
  std::vector<std::thread> readers;
  for (int reader = 0; reader < threads; reader++) {
    readers.emplace_back([&, reader] {
      std::mt19937_64 random(static_cast<uint64_t>(reader));
      std::vector<char> buffer(kBlock);
      start.arrive_and_wait();
      for (int read = 0; read < reads; read++) {
        const Block& block = blocks[random() % blocks.size()];
        if (pread(block.fd, buffer.data(), kBlock, block.offset) != kBlock) failed = true;
      }
    });
  }
  start.arrive_and_wait();
  const auto begin = std::chrono::steady_clock::now();
  for (std::thread& reader : readers) reader.join();
  const std::chrono::duration<double> elapsed = std::chrono::steady_clock::now() - begin;
  if (failed) {
    std::fprintf(stderr, "a read failed\n");
    return 1;
  }
  std::printf("{\"files\": %d, \"reads\": %" PRId64 ", \"seconds\": %.6f}\n", files,
              static_cast<int64_t>(threads) * reads, elapsed.count());
  return 0;
}
