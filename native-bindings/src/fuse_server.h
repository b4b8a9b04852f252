// A FUSE server in threads of its own. States: running ──ENODEV or Stop()──▶ stopping ──▶ ended; OnEnded is the last
// thing that happens. Each worker has a clone of the device and a buffer of its own, and answers on the
// descriptor it read from, as the kernel wants. What waits for a piece is parked in the MissTable and
// answered by one completion thread. How workers end on Stop(): see fuse_channel.h.
//
// The first worker answers INIT alone, starts the others, and joins them at the end. It waits for a mount that is not
// made yet.

#ifndef OCIMOUNT_FUSE_SERVER_H_
#define OCIMOUNT_FUSE_SERVER_H_

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "device.h"

namespace ocimount {

class FuseChannel;

/** Consecutive pieces that are wanted, for the addresses from `begin` to before `end` of the device. */
struct MissRun {
  uint32_t device = 0;
  uint64_t piece = 0;
  uint64_t count = 0;
  uint64_t begin = 0;
  uint64_t end = 0;
};

/** Called from server threads, several at once; must not block, and not call Stop() or destroy the server. */
class MissHandler {
 public:
  virtual ~MissHandler() = default;
  /**
   * To be answered by Complete or CompleteWithBytes. Where the device has parts each who waits has asked for what it wants, and
   * CompletePart or FailPart of that answers as well.
   */
  virtual void OnMiss(const MissRun& run) = 0;
  /** A device failed; at most once per device. `what` is a literal. */
  virtual void OnFault(uint32_t device, int error, const char* what) = 0;
};

struct FuseServerOptions {
  enum class Kind { kErofs, kFlat };

  /** /dev/fuse; the server owns it from here on, also where Start fails. */
  int fd = -1;
  Kind kind = Kind::kErofs;
  /** The EROFS image, for kErofs; stays the caller's until OnEnded. */
  const uint8_t* metadata = nullptr;
  size_t metadata_length = 0;
  std::vector<DeviceSpec> devices;
  unsigned threads = 4;
  /**
   * The server answers access(2) by itself. Without it an `erofs` mount must have `default_permissions`, since ID-mapped
   * mounts are then allowed, which the kernel ties to that option.
   */
  bool checks_access = false;
};

struct FuseServerStats {
  uint64_t requests = 0;
  uint64_t reads = 0;
  uint64_t bytes_read = 0;
  uint64_t misses = 0;
};

class FuseServer {
 public:
  /**
   * Starts the threads. Gives nothing and says why where the options are not sound or the image is damaged; then `on_ended` is
   * never called. `handler` must live until `on_ended` was called. `on_ended` runs on the server's last
   * thread, once; the server must not be destroyed inside it.
   */
  static std::unique_ptr<FuseServer> Start(const FuseServerOptions& options, MissHandler* handler,
                                           std::function<void()> on_ended, std::string* why);
  /** The same over a channel that is no device, for tests; `options.fd` is not used. */
  static std::unique_ptr<FuseServer> StartOn(std::shared_ptr<FuseChannel> channel,
                                             const FuseServerOptions& options,
                                             MissHandler* handler, std::function<void()> on_ended,
                                             std::string* why);

  /** Stops and waits for the threads. */
  ~FuseServer();
  FuseServer(const FuseServer&) = delete;
  FuseServer& operator=(const FuseServer&) = delete;

  // All of these may be called from any thread at any time, also after the end, and do not block.

  /** Answers a miss; `error` is 0 or an errno of either sign. */
  void Complete(uint32_t device, uint64_t piece, uint64_t count, int error);
  /** Answers a miss of one piece with its bytes. */
  void CompleteWithBytes(uint32_t device, uint64_t piece, std::vector<uint8_t> bytes);
  /** Answers those who wait for nothing but bytes at these addresses of a device. */
  void CompletePart(uint32_t device, uint64_t offset, std::vector<uint8_t> bytes);
  /** The same where they cannot be had; `error` is an errno of either sign. */
  void FailPart(uint32_t device, uint64_t offset, uint64_t length, int error);
  /** Makes this and every later read of a device fail, what is parked included. */
  void Fail(uint32_t device, int error);
  FuseServerStats stats() const;
  /** Answers what is parked with EIO and makes the threads end; OnEnded follows. */
  void Stop();

 private:
  struct Core;
  explicit FuseServer(std::shared_ptr<Core> core);

  std::shared_ptr<Core> core_;
};

}  // namespace ocimount

#endif  // OCIMOUNT_FUSE_SERVER_H_
