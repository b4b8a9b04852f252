// Requests that wait for pieces. A request is parked under the pieces it lacks; a piece is asked for once, however many
// wait for it. Of a device that has parts, who comes later and wants another stretch of the piece asks for that. Life of a
// parked request:
//
//   parked ──last piece or part completed, one failed, Interrupt, Fail, Drain──▶ ready ──Take──▶ the completion thread
//
// Whether a piece came in the meantime is looked at again under the lock, so that no wake-up is lost: the caller of
// Complete stores the state byte first. One mutex guards all; it is held for no system call and no
// callback. Bounds: kMaxParked requests, kSpareCount pieces in memory and what parked requests hold of them.

#ifndef OCIMOUNT_MISS_TABLE_H_
#define OCIMOUNT_MISS_TABLE_H_

#include <array>
#include <atomic>
#include <condition_variable>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <map>
#include <memory>
#include <mutex>
#include <unordered_map>
#include <vector>

#include "device.h"
#include "fuse_server.h"

namespace ocimount {

class FuseChannel;

/** A read that waits. It is answered on the channel that it came from. */
struct ParkedRead {
  std::shared_ptr<FuseChannel> channel;
  uint64_t unique = 0;
  uint64_t nodeid = 0;
  uint64_t offset = 0;
  uint32_t size = 0;
  /** How often it was parked. */
  unsigned rounds = 0;
  /** What to answer; 0: read again. */
  int error = 0;
  /** What it still waits for, of each piece once. */
  std::vector<MissingPart> waits_for;
  /** Bytes of pieces that came for it. */
  std::map<PieceRef, PieceBytes> held;
};

class MissTable final : public SparePieces {
 public:
  static constexpr size_t kMaxParked = 65536;
  static constexpr size_t kSpareCount = 16;

  /**
   * Parks a read until it has `missing`; gives what is to be asked for now. Where it need not or cannot wait it is ready
   * at once.
   */
  std::vector<MissRun> Park(std::unique_ptr<ParkedRead> read, std::vector<MissingPart> missing,
                            const DeviceSet& devices);
  /** Ends the wait for pieces; `error` 0: they are there. An error is none to who waits for one that is there all the same. */
  void Complete(uint32_t device, uint64_t piece, uint64_t count, int error,
                const DeviceSet& devices);
  void CompleteWithBytes(PieceRef ref, std::vector<uint8_t> bytes);
  /** Ends the wait of those who want nothing of the pieces but what is given, from an address of the device on. */
  void CompletePart(uint32_t device, uint64_t offset, std::vector<uint8_t> bytes);
  /** The same where that cannot be had. */
  void FailPart(uint32_t device, uint64_t begin, uint64_t end, int error);
  /** Makes all ready that wait for a device. */
  void WakeDevice(uint32_t device);
  /** Makes a parked read ready with EINTR; one that is not parked yet will be so when it comes. */
  void Interrupt(uint64_t unique);
  /** Makes all ready with EIO, now and from now on. */
  void Drain();
  /** Nothing will be parked any more: Take gives nothing once all that is ready was taken. */
  void Close();
  /** Waits for a read that is ready. */
  std::unique_ptr<ParkedRead> Take();
  PieceBytes Find(PieceRef ref, uint64_t address, size_t length) const override;

 private:
  using Parked = std::unordered_map<uint64_t, std::unique_ptr<ParkedRead>>;

  /** Who waits for a piece, and for which addresses in it. */
  struct Waiter {
    uint64_t unique = 0;
    uint64_t begin = 0;
    uint64_t end = 0;
  };

  /** Those who wait for a piece that was asked for. */
  struct Waiters {
    std::vector<Waiter> all;
    /** The stretch that was asked for last and has not come. */
    uint64_t begin = 0;
    uint64_t end = 0;
  };

  PieceBytes FindSpare(PieceRef ref, uint64_t address, size_t length) const;
  void MakeReady(uint64_t unique, int error);
  void Notify(PieceRef ref, int error, const PieceBytes& bytes);
  void NotifyRange(uint32_t device, uint64_t begin, uint64_t end, int error,
                   const PieceBytes& bytes);
  void NotifyPart(PieceRef ref, Waiters* waiters, uint64_t begin, uint64_t end, int error,
                  const PieceBytes& bytes);

  mutable std::mutex mutex_;
  std::condition_variable ready_condition_;
  Parked parked_;
  std::map<PieceRef, Waiters> waiting_;
  std::deque<std::unique_ptr<ParkedRead>> ready_;
  std::deque<std::pair<PieceRef, PieceBytes>> spares_;
  std::atomic<bool> has_spares_{false};
  /** Interrupts that came before their request was parked; a ring, since they may also have come too late. */
  std::array<uint64_t, 64> early_interrupts_{};
  size_t next_interrupt_ = 0;
  bool is_drained_ = false;
  bool is_closed_ = false;
};

}  // namespace ocimount

#endif  // OCIMOUNT_MISS_TABLE_H_
