// What a server serves bytes from. A device is a flat address space of `size` bytes that reads as zeros up to the
// next multiple of 4096. Four kinds:
//
//   region   a stretch of a file that must stay what it was; size, mtime and ctime are compared after each read
//   pieces   a sparse file with a state byte per MiB: 0 absent, 1 present but unchecked, >= 2 checked
//   virtual  rows that show bytes of the other devices, zeros between them
//   memory   bytes that the caller keeps
//
// Descriptors and memory stay the caller's and must outlive the device.

#ifndef OCIMOUNT_DEVICE_H_
#define OCIMOUNT_DEVICE_H_

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

namespace ocimount {

constexpr uint64_t kPieceSize = uint64_t{1} << 20;
/** Devices read as zeros from their size up to a multiple of this. */
constexpr uint64_t kDeviceAlignment = 4096;
constexpr size_t kVirtualRowSize = 32;

/** One `NativeDevice` of index.d.ts; only the fields of its kind count. */
struct DeviceSpec {
  enum class Kind { kRegion, kPieces, kVirtual, kMemory };

  Kind kind = Kind::kMemory;
  uint64_t size = 0;
  /** Region and pieces. */
  int fd = -1;
  /** Region: where in the file it begins, and the file's identity; times since 1970 modulo 2^64. */
  uint64_t offset = 0;
  uint64_t file_size = 0;
  uint64_t mtime_ns = 0;
  uint64_t ctime_ns = 0;
  /** Pieces: one byte per MiB, shared with the caller, who stores and loads it atomically. */
  uint8_t* state = nullptr;
  size_t state_length = 0;
  /** Pieces: the block of piece_use.h, shared too; none where nobody punches holes. */
  uint8_t* use = nullptr;
  size_t use_length = 0;
  /** Pieces: stretches of them can be had before the whole of them. */
  bool has_parts = false;
  /** Virtual: rows of 32 bytes; memory: the bytes. */
  const uint8_t* bytes = nullptr;
  size_t bytes_length = 0;
};

/** Bytes of one piece or of a stretch of it, or none. */
struct PieceBytes {
  std::shared_ptr<const std::vector<uint8_t>> bytes;
  /** Where in the device they begin. */
  uint64_t offset = 0;

  /** Gives what is at an address of the device; nothing where not all of it is here. */
  const uint8_t* At(uint64_t address, size_t length) const {
    if (bytes == nullptr || address < offset || address - offset > bytes->size() ||
        length > bytes->size() - (address - offset)) {
      return nullptr;
    }
    return bytes->data() + (address - offset);
  }
};

struct PieceRef {
  uint32_t device = 0;
  uint64_t piece = 0;

  bool operator==(const PieceRef&) const = default;
  auto operator<=>(const PieceRef&) const = default;
};

/** What of a piece a read lacks: all in between included, the addresses from `begin` to before `end` of the device. */
struct MissingPart {
  PieceRef ref;
  uint64_t begin = 0;
  uint64_t end = 0;

  bool operator==(const MissingPart&) const = default;
  auto operator<=>(const MissingPart&) const = default;
};

/** Finds pieces that are in memory because the disk is full. Called from server threads. */
class SparePieces {
 public:
  virtual ~SparePieces() = default;
  /** Gives bytes that hold what is at some addresses in the piece, or none. */
  virtual PieceBytes Find(PieceRef ref, uint64_t address, size_t length) const = 0;
};

/** Gets told that a device failed. Called from server threads, once per device. */
class FaultSink {
 public:
  virtual ~FaultSink() = default;
  virtual void OnFault(uint32_t device, int error, const char* what) = 0;
};

/** Devices by their number. All methods but `Open` may be called from any thread. */
class DeviceSet {
 public:
  /** Gives nothing and says why where the specs are not sound. */
  static std::unique_ptr<DeviceSet> Open(const std::vector<DeviceSpec>& specs, FaultSink* faults,
                                         std::string* why);

  uint32_t count() const { return static_cast<uint32_t>(devices_.size()); }
  uint64_t size(uint32_t device) const { return devices_[device]->spec.size; }
  /** The size with the zeros behind it. */
  uint64_t padded_size(uint32_t device) const;

  /**
   * Fills `target`. Gives 0 or an errno; where pieces are wanted first it gives EAGAIN and appends them to
   * `missing`, and what `target` holds then is of no use.
   */
  int Read(uint32_t device, uint64_t offset, uint8_t* target, size_t length,
           const SparePieces& spares, std::vector<MissingPart>* missing) const;

  /** Tells whether stretches of a device's pieces can be had before the whole of them. */
  bool HasParts(uint32_t device) const { return devices_[device]->spec.has_parts; }
  /** Tells whether a piece is checked and in the file. */
  bool IsPresent(PieceRef ref) const;
  /** Makes every later read fail; the first errno given stays. */
  void Fail(uint32_t device, int error) const;

 private:
  struct Device {
    DeviceSpec spec;
    /** Errno of every read from now on; 0 while there is none. */
    std::atomic<int> failure{0};
    std::atomic<bool> is_reported{false};
  };

  explicit DeviceSet(FaultSink* faults) : faults_(faults) {}
  int ReadRegion(uint32_t number, uint64_t offset, uint8_t* target, size_t length) const;
  int ReadPieces(uint32_t number, uint64_t offset, uint8_t* target, size_t length,
                 const SparePieces& spares, std::vector<MissingPart>* missing) const;
  int ReadVirtual(const Device& device, uint64_t offset, uint8_t* target, size_t length,
                  const SparePieces& spares, std::vector<MissingPart>* missing) const;
  int Report(uint32_t number, int error, const char* what, bool is_final) const;

  FaultSink* const faults_;
  std::vector<std::unique_ptr<Device>> devices_;
};

}  // namespace ocimount

#endif  // OCIMOUNT_DEVICE_H_
