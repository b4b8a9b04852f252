// libFuzzer: the whole server, over a script in place of a kernel: reads that miss, interrupts, and whoever makes pieces, who
// answers in any order, wrongly, twice or never. Whatever they do, each request is answered once, a read that is answered with
// bytes has the right ones, none waits once all pieces are there, and Stop() ends the server. What waits for ever, libFuzzer
// finds by its -timeout.
//
// There is a device of each kind. The first byte says how many rows the virtual one has, of 4 bytes each, and whether all
// pieces come in the end; then come steps of 4 bytes: what to do, and three numbers.

#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <condition_variable>
#include <cstring>
#include <deque>
#include <map>
#include <mutex>

#include "fuse_channel.h"
#include "fuse_protocol.h"
#include "fuse_server.h"

namespace {

using namespace ocimount;  // NOLINT

constexpr uint64_t kPieces = 5;
constexpr uint64_t kSize = (kPieces - 1) * kPieceSize + 777;
constexpr size_t kMaxRows = 15;
constexpr unsigned kThreads = 3;
enum Number : uint32_t { kRegion, kInPieces, kInMemory, kVirtual, kDeviceCount };

void Require(bool condition) {
  if (!condition) __builtin_trap();
}

uint8_t ByteAt(uint64_t offset) { return static_cast<uint8_t>(offset * 2654435761u >> 13 | 1); }

/** The bytes of all devices but the virtual one. */
const std::vector<uint8_t>& Content() {
  static const std::vector<uint8_t> content = [] {
    std::vector<uint8_t> bytes(kSize);
    for (uint64_t at = 0; at < kSize; at++) bytes[at] = ByteAt(at);
    return bytes;
  }();
  return content;
}

int ContentFile() {
  static const int file = [] {
    int fd = memfd_create("content", MFD_CLOEXEC);
    Require(write(fd, Content().data(), kSize) == static_cast<ssize_t>(kSize));
    return fd;
  }();
  return file;
}

/** Gives requests as they are pushed and checks what is answered. */
class FuzzChannel final : public FuseChannel, public std::enable_shared_from_this<FuzzChannel> {
 public:
  struct Asked {
    uint32_t device;
    uint64_t offset;
    uint32_t size;
  };

  explicit FuzzChannel(const std::vector<uint8_t>* virtual_content) : virtual_(virtual_content) {}

  ssize_t Receive(void* buffer, size_t size) override {
    std::unique_lock lock(mutex_);
    condition_.wait(lock, [this] { return !requests_.empty() || is_woken_; });
    if (is_woken_) return -ECANCELED;
    std::vector<uint8_t> request = std::move(requests_.front());
    requests_.pop_front();
    condition_.notify_all();
    Require(request.size() <= size);
    std::memcpy(buffer, request.data(), request.size());
    fuse_in_header header;
    std::memcpy(&header, request.data(), sizeof header);
    if (header.opcode == FUSE_READ || header.opcode == FUSE_INIT) waiting_++;
    return static_cast<ssize_t>(request.size());
  }
  int Send(const iovec* parts, int count) override {
    fuse_out_header header;
    Require(count >= 1 && parts[0].iov_len == sizeof header);
    std::memcpy(&header, parts[0].iov_base, sizeof header);
    size_t length = count > 1 ? parts[1].iov_len : 0;
    Require(header.len == sizeof header + length);
    Require(header.error <= 0 && header.error >= -kMaxErrno && header.error != -EAGAIN);
    std::lock_guard lock(mutex_);
    Require(waiting_-- > 0);
    condition_.notify_all();
    auto asked = asked_.find(header.unique);
    if (asked == asked_.end()) return 0;
    if (header.error == 0) Compare(asked->second, static_cast<uint8_t*>(parts[1].iov_base), length);
    asked_.erase(asked);
    return 0;
  }
  std::shared_ptr<FuseChannel> Clone() override { return shared_from_this(); }
  void Wake() override {
    std::lock_guard lock(mutex_);
    is_woken_ = true;
    condition_.notify_all();
  }

  template <typename T>
  void Push(uint32_t opcode, uint64_t unique, uint64_t nodeid, const T& body) {
    fuse_in_header header{};
    header.len = sizeof header + sizeof body;
    header.opcode = opcode;
    header.unique = unique;
    header.nodeid = nodeid;
    std::vector<uint8_t> bytes(header.len);
    std::memcpy(bytes.data(), &header, sizeof header);
    std::memcpy(bytes.data() + sizeof header, &body, sizeof body);
    std::lock_guard lock(mutex_);
    requests_.push_back(std::move(bytes));
    condition_.notify_all();
  }
  void PushRead(uint64_t unique, const Asked& asked) {
    fuse_read_in in{};
    in.offset = asked.offset;
    in.size = asked.size;
    {
      std::lock_guard lock(mutex_);
      asked_[unique] = asked;
    }
    Push(FUSE_READ, unique, FUSE_ROOT_ID + 1 + asked.device, in);
  }
  /** Waits until all that was pushed was received, or nothing will be any more. */
  void AwaitReceived() {
    std::unique_lock lock(mutex_);
    condition_.wait(lock, [this] { return requests_.empty() || is_woken_; });
  }
  /** Waits until all that was pushed was answered, or nothing more will be received. */
  void AwaitAnswered() {
    std::unique_lock lock(mutex_);
    condition_.wait(lock, [this] { return (requests_.empty() || is_woken_) && waiting_ == 0; });
  }

 private:
  void Compare(const Asked& asked, const uint8_t* bytes, size_t length) const {
    const std::vector<uint8_t>& content = asked.device == kVirtual ? *virtual_ : Content();
    uint64_t padded = (kSize + kDeviceAlignment - 1) / kDeviceAlignment * kDeviceAlignment;
    uint64_t rest = asked.offset < padded ? padded - asked.offset : 0;
    Require(length == std::min<uint64_t>(asked.size, rest));
    size_t inside = asked.offset < kSize ? std::min<uint64_t>(length, kSize - asked.offset) : 0;
    if (inside > 0) Require(std::memcmp(bytes, content.data() + asked.offset, inside) == 0);
    Require(std::all_of(bytes + inside, bytes + length, [](uint8_t byte) { return byte == 0; }));
  }

  const std::vector<uint8_t>* const virtual_;
  std::mutex mutex_;
  std::condition_variable condition_;
  std::deque<std::vector<uint8_t>> requests_;
  std::map<uint64_t, Asked> asked_;
  /** Requests that were received and have no answer yet. */
  int waiting_ = 0;
  bool is_woken_ = false;
};

class Handler final : public MissHandler {
 public:
  void OnMiss(const MissRun& run) override {
    Require(run.device == kInPieces && run.count > 0 && run.piece + run.count <= kPieces);
    Require(run.begin < run.end && run.end <= kSize && run.begin / kPieceSize == run.piece &&
            (run.end - 1) / kPieceSize == run.piece + run.count - 1);
  }
  void OnFault(uint32_t, int, const char*) override {}
};

/** Makes rows that are sound, and the bytes that they show. */
std::vector<uint8_t> MakeRows(const uint8_t* data, size_t count, std::vector<uint8_t>* shown) {
  std::vector<uint8_t> rows;
  uint64_t end = 0;
  shown->assign(kSize, 0);
  for (size_t index = 0; index < count; index++, data += 4) {
    uint64_t row[4] = {end + data[0] * 999, data[1] * uint64_t{15000},
                       1 + data[2] * uint64_t{3000}, data[3] % 3u};
    if (row[0] + row[2] > kSize || row[1] + row[2] > kSize) break;
    std::copy_n(Content().begin() + static_cast<ptrdiff_t>(row[1]), row[2],
                shown->begin() + static_cast<ptrdiff_t>(row[0]));
    rows.insert(rows.end(), reinterpret_cast<uint8_t*>(row), reinterpret_cast<uint8_t*>(row + 4));
    end = row[0] + row[2];
  }
  return rows;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  if (size < 1) return 0;
  size_t row_count = data[0] % (kMaxRows + 1);
  bool all_come = data[0] >= 128;
  bool has_parts = data[0] / 64 % 2 == 1;
  if (size < 1 + row_count * 4) return 0;
  std::vector<uint8_t> shown;
  std::vector<uint8_t> rows = MakeRows(data + 1, row_count, &shown);
  data += 1 + row_count * 4;
  size -= 1 + row_count * 4;

  std::vector<uint8_t> state(kPieces);
  FuseServerOptions options;
  options.kind = FuseServerOptions::Kind::kFlat;
  options.threads = kThreads;
  options.devices.resize(kDeviceCount);
  for (DeviceSpec& spec : options.devices) {
    spec.size = kSize;
    spec.fd = ContentFile();
  }
  options.devices[kRegion].kind = DeviceSpec::Kind::kRegion;
  options.devices[kRegion].file_size = kSize;
  struct stat status;
  Require(fstat(ContentFile(), &status) == 0);
  options.devices[kRegion].mtime_ns = status.st_mtim.tv_sec * 1000000000 + status.st_mtim.tv_nsec;
  options.devices[kRegion].ctime_ns = status.st_ctim.tv_sec * 1000000000 + status.st_ctim.tv_nsec;
  options.devices[kInPieces].kind = DeviceSpec::Kind::kPieces;
  options.devices[kInPieces].state = state.data();
  options.devices[kInPieces].state_length = state.size();
  options.devices[kInPieces].has_parts = has_parts;
  options.devices[kInMemory].bytes = Content().data();
  options.devices[kInMemory].bytes_length = kSize;
  options.devices[kVirtual].kind = DeviceSpec::Kind::kVirtual;
  options.devices[kVirtual].bytes = rows.data();
  options.devices[kVirtual].bytes_length = rows.size();

  Handler handler;
  auto channel = std::make_shared<FuzzChannel>(&shown);
  std::atomic<int> ended{0};
  std::string why;
  auto server = FuseServer::StartOn(channel, options, &handler, [&] { ended++; }, &why);
  Require(server != nullptr);
  fuse_init_in init{};
  init.major = kFuseMajor;
  init.minor = 31;
  channel->Push(FUSE_INIT, 1, 0, init);
  channel->AwaitAnswered();

  uint64_t unique = 2;
  for (; size >= 4; data += 4, size -= 4) {
    uint64_t piece = data[1] % kPieces;
    uint64_t end = std::min((piece + 1) * kPieceSize, kSize);
    if (data[0] & 8) channel->AwaitReceived();
    switch (data[0] % 8) {
      case 0:
      case 1:
        channel->PushRead(unique += 2, {data[1] % kDeviceCount, data[2] * uint64_t{20000},
                                        data[3] * uint32_t{4112}});
        break;
      case 2:
        channel->Push(FUSE_INTERRUPT, unique | 1, 0,
                      fuse_interrupt_in{unique - data[1] % 8 * uint64_t{2}});
        break;
      case 3:
        std::atomic_ref<uint8_t>(state[piece]).store(data[2] % 4, std::memory_order_release);
        break;
      case 4:
        server->Complete(data[2] % 8 == 0 ? data[2] : uint32_t{kInPieces}, piece, data[2],
                         static_cast<int8_t>(data[3]));
        break;
      case 5: {
        // Now and then too few bytes.
        auto from = Content().begin() + static_cast<ptrdiff_t>(piece * kPieceSize);
        auto to = Content().begin() + static_cast<ptrdiff_t>(end);
        if (data[2] % 4 == 0) to = from + (to - from) * data[3] / 255;
        server->CompleteWithBytes(kInPieces, piece, {from, to});
        break;
      }
      case 6:
        if (data[2] == 0) server->Fail(data[1], data[3]);
        break;
      case 7: {
        if (data[1] == 7) server->Stop();
        // Of one piece or of more.
        auto from = Content().begin() + std::min<ptrdiff_t>(data[1] * ptrdiff_t{20000}, kSize);
        ptrdiff_t length = std::min<ptrdiff_t>(data[2] * ptrdiff_t{4112}, Content().end() - from);
        auto offset = static_cast<uint64_t>(from - Content().begin());
        if (data[3] % 4 == 0) {
          server->FailPart(kInPieces, offset, static_cast<uint64_t>(length), data[3]);
        } else {
          server->CompletePart(kInPieces, offset, {from, from + length});
        }
        break;
      }
    }
  }
  if (all_come) {
    for (uint8_t& byte : state) std::atomic_ref<uint8_t>(byte).store(2, std::memory_order_release);
    server->Complete(kInPieces, 0, kPieces, 0);
    channel->AwaitAnswered();
  }
  server = nullptr;
  Require(ended == 1);
  channel->AwaitAnswered();
  return 0;
}
