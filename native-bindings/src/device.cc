#include "device.h"

#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>

#include "piece_use.h"

namespace ocimount {

namespace {

/** One row of a virtual device, in the byte order of the host that mapped its table (little endian). */
struct VirtualRow {
  uint64_t virtual_offset;
  uint64_t device_offset;
  uint64_t length;
  uint32_t device;
  uint32_t zero;
};
static_assert(sizeof(VirtualRow) == kVirtualRowSize);

VirtualRow RowAt(const DeviceSpec& spec, size_t index) {
  VirtualRow row;
  std::memcpy(&row, spec.bytes + index * kVirtualRowSize, sizeof row);
  return row;
}

/** Gives the number of the first row that ends behind an offset. */
size_t FirstRowBehind(const DeviceSpec& spec, uint64_t offset) {
  size_t low = 0;
  size_t high = spec.bytes_length / kVirtualRowSize;
  while (low < high) {
    size_t middle = low + (high - low) / 2;
    VirtualRow row = RowAt(spec, middle);
    if (row.virtual_offset + row.length <= offset) {
      low = middle + 1;
    } else {
      high = middle;
    }
  }
  return low;
}

bool FitsOffT(uint64_t offset, uint64_t length) {
  return offset <= INT64_MAX && length <= INT64_MAX - offset;
}

const char* ProblemOfRows(const DeviceSpec& spec, const std::vector<DeviceSpec>& specs) {
  if (spec.bytes_length % kVirtualRowSize != 0) return "its table is cut";
  uint64_t end = 0;
  for (size_t index = 0; index < spec.bytes_length / kVirtualRowSize; index++) {
    VirtualRow row = RowAt(spec, index);
    if (row.zero != 0 || row.length == 0 || row.virtual_offset < end ||
        row.virtual_offset > spec.size || row.length > spec.size - row.virtual_offset) {
      return "its rows do not ascend within its size";
    }
    if (row.device >= specs.size() || specs[row.device].kind == DeviceSpec::Kind::kVirtual ||
        row.device_offset > specs[row.device].size ||
        row.length > specs[row.device].size - row.device_offset) {
      return "a row leaves its device";
    }
    end = row.virtual_offset + row.length;
  }
  return nullptr;
}

const char* ProblemOf(const DeviceSpec& spec, const std::vector<DeviceSpec>& specs) {
  if (!FitsOffT(spec.size, kDeviceAlignment)) return "it is too large";
  switch (spec.kind) {
    case DeviceSpec::Kind::kRegion:
      if (spec.fd < 0 || spec.file_size > INT64_MAX || spec.offset > spec.file_size ||
          spec.size > spec.file_size - spec.offset) {
        return "it leaves its file";
      }
      return nullptr;
    case DeviceSpec::Kind::kPieces:
      if (spec.fd < 0 || (spec.state == nullptr && spec.size > 0) ||
          spec.state_length < (spec.size + kPieceSize - 1) / kPieceSize) {
        return "it has too few state bytes";
      }
      if (spec.use != nullptr &&
          (spec.use_length < kPieceUseHeader + (spec.size + kPieceSize - 1) / kPieceSize ||
           reinterpret_cast<uintptr_t>(spec.use) % alignof(int32_t) != 0)) {
        return "it has too few bytes for its use";
      }
      return nullptr;
    case DeviceSpec::Kind::kVirtual:
      return ProblemOfRows(spec, specs);
    case DeviceSpec::Kind::kMemory:
      return spec.bytes_length < spec.size ? "it has too few bytes" : nullptr;
  }
  return "it is of no kind";
}

/** Reads until the length is reached, the end of the file, or an error. Gives an errno; `done` is what was read. */
int ReadFully(int fd, uint8_t* target, size_t length, uint64_t offset, size_t* done) {
  *done = 0;
  while (*done < length) {
    ssize_t count =
        pread(fd, target + *done, length - *done, static_cast<off_t>(offset + *done));
    if (count == 0) return 0;
    if (count > 0) {
      *done += static_cast<size_t>(count);
    } else if (errno != EINTR) {
      return errno;
    }
  }
  return 0;
}

/** Modulo 2^64, since a file may be of any time. */
uint64_t Nanoseconds(const timespec& time) {
  return static_cast<uint64_t>(time.tv_sec) * 1000000000 + static_cast<uint64_t>(time.tv_nsec);
}

bool IsUnchanged(const DeviceSpec& spec) {
  struct stat now;
  return fstat(spec.fd, &now) == 0 && now.st_size == static_cast<off_t>(spec.file_size) &&
         Nanoseconds(now.st_mtim) == spec.mtime_ns && Nanoseconds(now.st_ctim) == spec.ctime_ns;
}

}  // namespace

std::unique_ptr<DeviceSet> DeviceSet::Open(const std::vector<DeviceSpec>& specs, FaultSink* faults,
                                           std::string* why) {
  std::unique_ptr<DeviceSet> set(new DeviceSet(faults));
  for (const DeviceSpec& spec : specs) {
    if (const char* problem = ProblemOf(spec, specs)) {
      *why = "Cannot serve device " + std::to_string(set->devices_.size()) + ": " + problem;
      return nullptr;
    }
    set->devices_.push_back(std::make_unique<Device>());
    set->devices_.back()->spec = spec;
  }
  return set;
}

uint64_t DeviceSet::padded_size(uint32_t device) const {
  return (size(device) + kDeviceAlignment - 1) / kDeviceAlignment * kDeviceAlignment;
}

int DeviceSet::Read(uint32_t device, uint64_t offset, uint8_t* target, size_t length,
                    const SparePieces& spares, std::vector<MissingPart>* missing) const {
  if (device >= devices_.size()) return EIO;
  if (offset > padded_size(device) || length > padded_size(device) - offset) return EIO;
  const Device& chosen = *devices_[device];
  if (int failure = chosen.failure.load(std::memory_order_acquire)) return failure;
  size_t inside = offset >= chosen.spec.size
                      ? 0
                      : static_cast<size_t>(std::min<uint64_t>(length, chosen.spec.size - offset));
  if (inside < length) std::memset(target + inside, 0, length - inside);
  if (inside == 0) return 0;
  switch (chosen.spec.kind) {
    case DeviceSpec::Kind::kRegion:
      return ReadRegion(device, offset, target, inside);
    case DeviceSpec::Kind::kPieces:
      return ReadPieces(device, offset, target, inside, spares, missing);
    case DeviceSpec::Kind::kVirtual:
      return ReadVirtual(chosen, offset, target, inside, spares, missing);
    case DeviceSpec::Kind::kMemory:
      std::memcpy(target, chosen.spec.bytes + offset, inside);
      return 0;
  }
  return EIO;
}

int DeviceSet::ReadRegion(uint32_t number, uint64_t offset, uint8_t* target, size_t length) const {
  const Device& device = *devices_[number];
  size_t done;
  int error = ReadFully(device.spec.fd, target, length, device.spec.offset + offset, &done);
  if (error != 0) return Report(number, error, "reading the file failed", false);
  // Compared after the bytes were taken: a change that came before them cannot go unseen.
  if (done < length || !IsUnchanged(device.spec)) {
    return Report(number, EIO, "the file changed while it was mounted", true);
  }
  return device.failure.load(std::memory_order_acquire);
}

int DeviceSet::ReadPieces(uint32_t number, uint64_t offset, uint8_t* target, size_t length,
                          const SparePieces& spares, std::vector<MissingPart>* missing) const {
  const DeviceSpec& spec = devices_[number]->spec;
  const PieceReading reading(spec.use);
  bool is_complete = true;
  while (length > 0) {
    PieceRef ref{number, offset / kPieceSize};
    size_t part = static_cast<size_t>(std::min<uint64_t>(length, kPieceSize - offset % kPieceSize));
    std::atomic_ref<uint8_t> state(spec.state[ref.piece]);
    uint8_t before = state.load();
    bool is_taken = false;
    if (before >= 2) {
      size_t done;
      int error = ReadFully(spec.fd, target, part, offset, &done);
      if (error != 0) return Report(number, error, "reading the cache failed", false);
      if (done < part) {
        uint8_t expected = before;
        state.compare_exchange_strong(expected, 1, std::memory_order_acq_rel);
      }
      is_taken = state.load(std::memory_order_acquire) == before;
      if (is_taken) reading.Touch(ref.piece);
    }
    if (!is_taken) {
      PieceBytes spare = spares.Find(ref, offset, part);
      const uint8_t* bytes = spare.At(offset, part);
      if (bytes != nullptr) std::memcpy(target, bytes, part);
      is_taken = bytes != nullptr;
    }
    if (!is_taken) {
      missing->push_back({ref, offset, offset + part});
      is_complete = false;
    }
    offset += part;
    target += part;
    length -= part;
  }
  return is_complete ? devices_[number]->failure.load(std::memory_order_acquire) : EAGAIN;
}

int DeviceSet::ReadVirtual(const Device& device, uint64_t offset, uint8_t* target, size_t length,
                           const SparePieces& spares, std::vector<MissingPart>* missing) const {
  std::memset(target, 0, length);
  uint64_t end = offset + length;
  size_t count = device.spec.bytes_length / kVirtualRowSize;
  bool is_complete = true;
  for (size_t index = FirstRowBehind(device.spec, offset); index < count; index++) {
    VirtualRow row = RowAt(device.spec, index);
    if (row.virtual_offset >= end) break;
    uint64_t from = std::max(row.virtual_offset, offset);
    uint64_t to = std::min(row.virtual_offset + row.length, end);
    int error = Read(row.device, row.device_offset + (from - row.virtual_offset),
                     target + (from - offset), static_cast<size_t>(to - from), spares, missing);
    if (error == EAGAIN) {
      is_complete = false;
    } else if (error != 0) {
      return error;
    }
  }
  return is_complete ? 0 : EAGAIN;
}

bool DeviceSet::IsPresent(PieceRef ref) const {
  const DeviceSpec& spec = devices_[ref.device]->spec;
  std::atomic_ref<uint8_t> state(spec.state[ref.piece]);
  return state.load(std::memory_order_acquire) >= 2;
}

void DeviceSet::Fail(uint32_t device, int error) const {
  if (device >= devices_.size()) return;
  int none = 0;
  devices_[device]->failure.compare_exchange_strong(none, error, std::memory_order_acq_rel);
}

int DeviceSet::Report(uint32_t number, int error, const char* what, bool is_final) const {
  if (is_final) Fail(number, error);
  Device& device = *devices_[number];
  if (!device.is_reported.exchange(true, std::memory_order_relaxed)) {
    faults_->OnFault(number, error, what);
  }
  return EIO;
}

}  // namespace ocimount
