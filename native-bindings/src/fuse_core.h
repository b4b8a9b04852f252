// The inside of a FuseServer: what its threads share. Lock order: none is taken while another is held.
//
//   main thread        waits for INIT ▸ starts the others ▸ works ▸ joins them ▸ drops the channel ▸ OnEnded
//   workers            receive ▸ answer, or park ▸ …
//   completion thread  takes what is ready from the MissTable ▸ answers, or parks again

#ifndef OCIMOUNT_FUSE_CORE_H_
#define OCIMOUNT_FUSE_CORE_H_

#include <atomic>
#include <functional>
#include <memory>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

#include "fuse_channel.h"
#include "fuse_dispatch.h"
#include "fuse_server.h"
#include "miss_table.h"

namespace ocimount {

struct FuseServer::Core final : public FaultSink {
  Core(std::shared_ptr<FuseChannel> channel, MissHandler* handler, std::function<void()> on_ended)
      : channel(std::move(channel)), handler(handler), on_ended(std::move(on_ended)) {}

  /** Checks the options and opens what they name; false: says why. */
  bool Open(const FuseServerOptions& options, std::string* why);
  /** Starts the main thread, false where the system has none left. */
  bool Start();
  void Stop();

  void OnFault(uint32_t device, int error, const char* what) override {
    handler->OnFault(device, error, what);
  }

  std::mutex mutex;
  /** Guarded by mutex; nothing once the threads have ended. */
  std::shared_ptr<FuseChannel> channel;

  MissHandler* const handler;
  const std::function<void()> on_ended;
  std::atomic<bool> is_stopping{false};
  unsigned thread_count = 1;
  bool allows_idmap = false;
  std::unique_ptr<DeviceSet> devices;
  std::unique_ptr<FuseFilesystem> filesystem;
  std::unique_ptr<FuseDispatcher> dispatcher;
  FuseSession session;
  MissTable misses;
  std::thread main_thread;

  std::atomic<uint64_t> requests{0};
  std::atomic<uint64_t> reads{0};
  std::atomic<uint64_t> bytes_read{0};
  std::atomic<uint64_t> miss_count{0};

 private:
  /** A thread's memory: one mapping, of which only what is used is ever backed. */
  class Buffers {
   public:
    Buffers();
    ~Buffers();
    Buffers(const Buffers&) = delete;
    Buffers& operator=(const Buffers&) = delete;
    bool is_valid() const { return memory_ != nullptr; }
    uint8_t* request() const { return memory_; }
    FuseReply reply() const { return {memory_ + kMaxRequestSize, kMaxReadSize}; }

    std::vector<FileExtent> extents;
    std::vector<MissingPart> missing;

   private:
    uint8_t* memory_ = nullptr;
  };

  void RunMain();
  void RunWorkers();
  void Work(const std::shared_ptr<FuseChannel>& own, bool until_initialized);
  void RunCompletion();
  void Handle(const std::shared_ptr<FuseChannel>& from, size_t length, Buffers* buffers);
  void HandleRead(const std::shared_ptr<FuseChannel>& from, const FuseRequest& request,
                  Buffers* buffers);
  /** Gives 0, an errno, or EAGAIN where `buffers->missing` says what is missing. */
  int Read(const ParkedRead& read, const SparePieces& spares, Buffers* buffers, FuseReply* reply);
  void Park(std::unique_ptr<ParkedRead> read, std::vector<MissingPart> missing);
  void Reply(FuseChannel* to, uint64_t unique, int error, const FuseReply& reply);
};

}  // namespace ocimount

#endif  // OCIMOUNT_FUSE_CORE_H_
