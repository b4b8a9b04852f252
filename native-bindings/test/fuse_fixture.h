// What the tests of the FUSE server share: the images that make-image.mjs wrote, mounts, child processes, and a miss
// handler that works like the cache does. Nothing in the process itself touches a mount; children do, which can be killed.

#ifndef OCIMOUNT_TEST_FUSE_FIXTURE_H_
#define OCIMOUNT_TEST_FUSE_FIXTURE_H_

#include <sys/types.h>

#include <atomic>
#include <condition_variable>
#include <functional>
#include <memory>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

#include "fuse_server.h"

namespace ocimount::test {

/** The directory with the images, and this program, for children. */
extern std::string data_directory;
extern std::string program;

std::vector<uint8_t> ReadWhole(const std::string& path);
void WriteWhole(const std::string& path, const std::vector<uint8_t>& bytes);

/** A child that runs a subcommand of this program (see fuse_child.cc); its output is collected. */
class Child {
 public:
  explicit Child(std::vector<std::string> arguments);
  ~Child();
  Child(const Child&) = delete;
  Child& operator=(const Child&) = delete;

  void Kill();
  /** Waits at most so long; false: it still runs. */
  bool WaitFor(int milliseconds);
  /** Waits; gives the exit status, 128 + the signal where one ended it. */
  int Wait();
  const std::string& output() const { return output_; }

 private:
  pid_t pid_ = -1;
  int output_fd_ = -1;
  int status_ = -1;
  std::string output_;
};

/** Runs a subcommand and gives what it wrote; its status must be 0. */
std::string Run(std::vector<std::string> arguments);

/** Answers misses in a thread of its own, by `produce`; counts what was asked for. */
class TestHandler final : public MissHandler {
 public:
  ~TestHandler() override;
  void OnMiss(const MissRun& run) override;
  void OnFault(uint32_t device, int error, const char* what) override;

  /** Starts to answer; the server must live until Finish. */
  void Serve(std::function<void(const MissRun&)> produce);
  void Finish();

  std::atomic<int> misses{0};
  std::atomic<int> faults{0};

 private:
  std::mutex mutex_;
  std::condition_variable condition_;
  std::vector<MissRun> queue_;
  bool is_finished_ = false;
  std::thread thread_;
};

/** The devices of the image; dev1 is in pieces, all absent at first. */
class Devices {
 public:
  Devices();
  ~Devices();
  Devices(const Devices&) = delete;
  Devices& operator=(const Devices&) = delete;

  std::vector<DeviceSpec> specs;
  std::string region_path;
  std::vector<uint8_t> state;
  std::vector<uint8_t> source;

  /** Writes pieces of dev1 to its sparse file and marks them. */
  void Fill(uint64_t piece, uint64_t count);
  void FillAll() { Fill(0, state.size()); }

 private:
  std::vector<uint8_t> rows_;
  std::string pieces_path_;
};

/** A server and its mount. */
class Mount {
 public:
  enum class Image { kFull, kPlain, kFlat };
  Mount(Devices* devices, TestHandler* handler, Image image = Image::kFull,
        bool checks_access = false, unsigned threads = 4);
  ~Mount();

  void Unmount(bool is_lazy = false);
  /** Waits for OnEnded; false: it did not come. */
  bool WaitForEnd(int milliseconds = 10000);

  std::string path;
  std::unique_ptr<FuseServer> server;
  std::atomic<int> ended{0};

 private:
  std::vector<uint8_t> metadata_;
  bool is_mounted_ = false;
};

void SleepMs(int milliseconds);

}  // namespace ocimount::test

#endif  // OCIMOUNT_TEST_FUSE_FIXTURE_H_
