// What whoever punches holes into a file of pieces knows of its readers: a block of shared memory beside the states.
//
//    0  int32   epoch
//    4  int32   reads that began in an even epoch and have not ended; at 8 those of odd epochs
//   64  a byte per piece: 1 after a read found the piece in the file; cleared by whoever looks for pieces to give up
//
// A read enters before it looks at a state and leaves when it has the bytes. Whoever punches makes the states absent first,
// then twice: begins another epoch and waits until nobody of the one before is left. Twice, since a read may have
// looked at the epoch long before it entered. Then no read is under way that saw the pieces as present.

#ifndef OCIMOUNT_PIECE_USE_H_
#define OCIMOUNT_PIECE_USE_H_

#include <atomic>
#include <cstddef>
#include <cstdint>

namespace ocimount {

constexpr size_t kPieceUseHeader = 64;

/** One read, from its construction to its end. Does nothing where there is no such block. */
class PieceReading {
 public:
  explicit PieceReading(uint8_t* use) : use_(use) {
    if (use_ == nullptr) return;
    auto* words = reinterpret_cast<int32_t*>(use_);
    int32_t epoch = std::atomic_ref<int32_t>(words[0]).load();
    inside_ = words + 1 + (epoch & 1);
    // In one order with the look at the state behind it.
    std::atomic_ref<int32_t>(*inside_).fetch_add(1);
  }
  ~PieceReading() {
    if (inside_ != nullptr) std::atomic_ref<int32_t>(*inside_).fetch_sub(1);
  }
  PieceReading(const PieceReading&) = delete;
  PieceReading& operator=(const PieceReading&) = delete;

  /** Notes that a piece was found in the file. */
  void Touch(uint64_t piece) const {
    if (use_ == nullptr) return;
    std::atomic_ref<uint8_t> mark(use_[kPieceUseHeader + piece]);
    // Written once, so that the threads that read the same piece do not take the line from each other.
    if (mark.load(std::memory_order_relaxed) == 0) mark.store(1, std::memory_order_relaxed);
  }

 private:
  uint8_t* const use_;
  int32_t* inside_ = nullptr;
};

}  // namespace ocimount

#endif  // OCIMOUNT_PIECE_USE_H_
