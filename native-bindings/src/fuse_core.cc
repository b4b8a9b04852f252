#include "fuse_core.h"

#include <signal.h>
#include <sys/mman.h>

#include <algorithm>
#include <cerrno>
#include <system_error>

#include "erofs_filesystem.h"
#include "flat_filesystem.h"

namespace ocimount {

namespace {

constexpr unsigned kMaxThreads = 64;
/** A read that is told so often that its pieces are there, and finds them gone, gives up. */
constexpr unsigned kMaxRounds = 16;

/** Starts a thread that leaves all signals to the process's own threads; none where the system is out of them. */
template <typename Function>
std::thread StartThread(Function function) {
  sigset_t all;
  sigset_t previous;
  sigfillset(&all);
  pthread_sigmask(SIG_SETMASK, &all, &previous);
  std::thread thread;
  try {
    thread = std::thread(std::move(function));
  } catch (const std::system_error&) {
    // The caller sees that it is not joinable.
  }
  pthread_sigmask(SIG_SETMASK, &previous, nullptr);
  return thread;
}

/** What came for one read, before what the server has for all. */
class HeldPieces final : public SparePieces {
 public:
  HeldPieces(const ParkedRead& read, const SparePieces& others) : read_(read), others_(others) {}

  PieceBytes Find(PieceRef ref, uint64_t address, size_t length) const override {
    auto entry = read_.held.find(ref);
    bool is_held = entry != read_.held.end() && entry->second.At(address, length) != nullptr;
    return is_held ? entry->second : others_.Find(ref, address, length);
  }

 private:
  const ParkedRead& read_;
  const SparePieces& others_;
};

}  // namespace

FuseServer::Core::Buffers::Buffers() {
  void* memory = mmap(nullptr, kMaxRequestSize + kMaxReadSize, PROT_READ | PROT_WRITE,
                      MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (memory != MAP_FAILED) memory_ = static_cast<uint8_t*>(memory);
}

FuseServer::Core::Buffers::~Buffers() {
  if (memory_ != nullptr) munmap(memory_, kMaxRequestSize + kMaxReadSize);
}

bool FuseServer::Core::Open(const FuseServerOptions& options, std::string* why) {
  thread_count = std::clamp(options.threads, 1u, kMaxThreads);
  bool is_erofs = options.kind == FuseServerOptions::Kind::kErofs;
  allows_idmap = is_erofs && !options.checks_access;
  devices = DeviceSet::Open(options.devices, this, why);
  if (devices == nullptr) return false;
  if (is_erofs) {
    auto view = ErofsView::Open(options.metadata, options.metadata_length, why);
    if (view == nullptr) return false;
    if (view->device_sizes().size() != devices->count()) {
      *why = "Cannot serve an image of " + std::to_string(view->device_sizes().size()) +
             " devices: " + std::to_string(devices->count()) + " were given";
      return false;
    }
    uint64_t bytes = 0;
    for (uint32_t device = 0; device < devices->count(); device++) bytes += devices->size(device);
    filesystem = std::make_unique<ErofsFilesystem>(std::move(view), bytes);
  } else {
    filesystem = std::make_unique<FlatFilesystem>(devices.get());
  }
  dispatcher = std::make_unique<FuseDispatcher>(*filesystem, session, options.checks_access);
  return true;
}

bool FuseServer::Core::Start() {
  main_thread = StartThread([this] { RunMain(); });
  return main_thread.joinable();
}

void FuseServer::Core::Stop() {
  is_stopping = true;
  misses.Drain();
  std::lock_guard lock(mutex);
  if (channel != nullptr) channel->Wake();
}

void FuseServer::Core::RunMain() {
  std::shared_ptr<FuseChannel> own = channel;
  Work(own, true);
  if (!is_stopping) RunWorkers();
  own = nullptr;
  {
    std::lock_guard lock(mutex);
    channel = nullptr;
  }
  on_ended();
}

void FuseServer::Core::RunWorkers() {
  std::thread completion = StartThread([this] { RunCompletion(); });
  // Without it what is parked would wait for ever.
  if (!completion.joinable()) is_stopping = true;
  std::vector<std::thread> workers;
  for (unsigned index = 1; index < thread_count && !is_stopping; index++) {
    std::shared_ptr<FuseChannel> clone = channel->Clone();
    if (clone == nullptr) break;
    std::thread worker = StartThread([this, clone] { Work(clone, false); });
    if (!worker.joinable()) break;
    workers.push_back(std::move(worker));
  }
  Work(channel, false);
  Stop();
  for (std::thread& worker : workers) worker.join();
  misses.Close();
  if (completion.joinable()) completion.join();
}

void FuseServer::Core::Work(const std::shared_ptr<FuseChannel>& own, bool until_initialized) {
  Buffers buffers;
  if (!buffers.is_valid()) Stop();
  while (!is_stopping && !(until_initialized && session.is_initialized)) {
    ssize_t length = own->Receive(buffers.request(), kMaxRequestSize);
    if (length >= 0) {
      Handle(own, static_cast<size_t>(length), &buffers);
    } else if (length != -EINTR && length != -EAGAIN && length != -ENOENT) {
      // ENODEV is the regular end; after anything else nothing can be received either.
      Stop();
    }
  }
}

void FuseServer::Core::Handle(const std::shared_ptr<FuseChannel>& from, size_t length,
                              Buffers* buffers) {
  FuseRequest request;
  FuseReply reply = buffers->reply();
  // Nothing to answer to: not even the number of the request can be trusted.
  if (!request.Parse(buffers->request(), length)) return;
  uint32_t opcode = request.opcode();
  requests.fetch_add(1, std::memory_order_relaxed);
  if (opcode == FUSE_INTERRUPT) {
    fuse_interrupt_in in;
    if (request.Args(&in)) misses.Interrupt(in.unique);
    return;
  }
  if (IsUnanswered(opcode)) return;
  uint64_t unique = request.header().unique;
  if (opcode == FUSE_INIT) {
    int error = session.is_initialized ? EIO : session.Negotiate(request, allows_idmap, &reply);
    Reply(from.get(), unique, error, reply);
    return;
  }
  if (opcode == FUSE_READ && session.is_initialized) {
    HandleRead(from, request, buffers);
    return;
  }
  int error = session.is_initialized ? dispatcher->Answer(request, &reply) : EIO;
  Reply(from.get(), unique, error, reply);
}

void FuseServer::Core::HandleRead(const std::shared_ptr<FuseChannel>& from,
                                  const FuseRequest& request, Buffers* buffers) {
  FuseReply reply = buffers->reply();
  fuse_read_in in;
  uint64_t unique = request.header().unique;
  if (!request.Args(&in, offsetof(fuse_read_in, read_flags)) || in.size > reply.capacity()) {
    Reply(from.get(), unique, EINVAL, reply);
    return;
  }
  ParkedRead read;
  read.unique = unique;
  read.nodeid = request.nodeid();
  read.offset = in.offset;
  read.size = in.size;
  int error = Read(read, misses, buffers, &reply);
  if (error != EAGAIN) {
    Reply(from.get(), unique, error, reply);
    return;
  }
  read.channel = from;
  Park(std::make_unique<ParkedRead>(std::move(read)), buffers->missing);
}

int FuseServer::Core::Read(const ParkedRead& read, const SparePieces& spares, Buffers* buffers,
                           FuseReply* reply) {
  buffers->extents.clear();
  buffers->missing.clear();
  if (int error = filesystem->MapRead(read.nodeid, read.offset, read.size, &buffers->extents)) {
    return error;
  }
  uint8_t* target = reply->data();
  int result = 0;
  for (const FileExtent& extent : buffers->extents) {
    int error = 0;
    if (extent.device == kNoDevice) {
      std::memset(target, 0, extent.length);
    } else {
      error = devices->Read(extent.device, extent.device_offset, target, extent.length, spares,
                            &buffers->missing);
    }
    // What else is missing is asked for at the same time.
    if (error != 0 && error != EAGAIN) return error;
    if (error == EAGAIN) result = EAGAIN;
    target += extent.length;
  }
  reply->set_size(static_cast<size_t>(target - reply->data()));
  if (result == 0) {
    reads.fetch_add(1, std::memory_order_relaxed);
    bytes_read.fetch_add(reply->size(), std::memory_order_relaxed);
  }
  return result;
}

void FuseServer::Core::Park(std::unique_ptr<ParkedRead> read, std::vector<MissingPart> missing) {
  read->rounds++;
  for (const MissRun& run : misses.Park(std::move(read), std::move(missing), *devices)) {
    miss_count.fetch_add(run.count, std::memory_order_relaxed);
    handler->OnMiss(run);
  }
}

void FuseServer::Core::RunCompletion() {
  Buffers buffers;
  while (std::unique_ptr<ParkedRead> read = misses.Take()) {
    FuseReply reply = buffers.reply();
    int error = read->error;
    if (!buffers.is_valid()) error = EIO;
    if (error == 0) error = Read(*read, HeldPieces(*read, misses), &buffers, &reply);
    if (error != EAGAIN || read->rounds >= kMaxRounds) {
      Reply(read->channel.get(), read->unique, error == EAGAIN ? EIO : error, reply);
    } else {
      Park(std::move(read), buffers.missing);
    }
  }
}

void FuseServer::Core::Reply(FuseChannel* to, uint64_t unique, int error, const FuseReply& reply) {
  if (error < 0 || error > kMaxErrno) error = EIO;
  size_t size = error == 0 ? reply.size() : 0;
  fuse_out_header header{};
  header.len = static_cast<uint32_t>(sizeof header + size);
  header.error = -error;
  header.unique = unique;
  iovec parts[] = {{&header, sizeof header}, {reply.data(), size}};
  int outcome = to->Send(parts, size == 0 ? 1 : 2);
  // ENOENT: interrupted, nobody waits any more. ENODEV: the connection has ended. What else the kernel refuses
  // must not leave somebody waiting.
  if (outcome == 0 || outcome == ENOENT || outcome == ENODEV || error != 0) return;
  header.len = sizeof header;
  header.error = -EIO;
  to->Send(parts, 1);
}

}  // namespace ocimount
