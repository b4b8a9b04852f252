// The server fed by a script in place of a kernel: old and forged requests, refused replies; and forged images.

#include <sys/stat.h>

#include <cerrno>
#include <condition_variable>
#include <cstdlib>
#include <cstring>
#include <deque>
#include <mutex>
#include <random>

#include "erofs_filesystem.h"
#include "fuse_channel.h"
#include "fuse_dispatch.h"
#include "fuse_fixture.h"
#include "fuse_protocol.h"
#include "fuse_tests.h"

namespace ocimount::test {

namespace {

/** Gives the server what the test pushes and keeps what it answers. */
class ScriptedChannel final : public FuseChannel {
 public:
  ssize_t Receive(void* buffer, size_t size) override {
    std::unique_lock lock(mutex_);
    condition_.wait(lock, [this] { return !requests_.empty() || wakes_ > 0 || is_closed_; });
    if (is_closed_) return -ENODEV;
    if (requests_.empty()) {
      return -ECANCELED;
    }
    std::vector<uint8_t> request = std::move(requests_.front());
    requests_.pop_front();
    CHECK(request.size() <= size);
    std::memcpy(buffer, request.data(), request.size());
    return static_cast<ssize_t>(request.size());
  }
  int Send(const iovec* parts, int count) override {
    std::vector<uint8_t> reply;
    for (int index = 0; index < count; index++) {
      const uint8_t* base = static_cast<const uint8_t*>(parts[index].iov_base);
      reply.insert(reply.end(), base, base + parts[index].iov_len);
    }
    std::lock_guard lock(mutex_);
    if (refuses_data_ && reply.size() > sizeof(fuse_out_header)) return EINVAL;
    replies_.push_back(std::move(reply));
    condition_.notify_all();
    return 0;
  }
  std::shared_ptr<FuseChannel> Clone() override { return nullptr; }
  void Wake() override {
    std::lock_guard lock(mutex_);
    wakes_++;
    condition_.notify_all();
  }

  void Push(std::vector<uint8_t> request) {
    std::lock_guard lock(mutex_);
    requests_.push_back(std::move(request));
    condition_.notify_all();
  }
  void CloseConnection() {
    std::lock_guard lock(mutex_);
    is_closed_ = true;
    condition_.notify_all();
  }
  void RefuseData() {
    std::lock_guard lock(mutex_);
    refuses_data_ = true;
  }
  std::vector<uint8_t> Pop() {
    std::unique_lock lock(mutex_);
    condition_.wait(lock, [this] { return !replies_.empty(); });
    std::vector<uint8_t> reply = std::move(replies_.front());
    replies_.pop_front();
    return reply;
  }
  size_t reply_count() {
    std::lock_guard lock(mutex_);
    return replies_.size();
  }

 private:
  std::mutex mutex_;
  std::condition_variable condition_;
  std::deque<std::vector<uint8_t>> requests_;
  std::deque<std::vector<uint8_t>> replies_;
  int wakes_ = 0;
  bool is_closed_ = false;
  bool refuses_data_ = false;
};

std::vector<uint8_t> Request(uint32_t opcode, uint64_t unique, uint64_t nodeid, const void* body,
                             size_t length) {
  fuse_in_header header{};
  header.len = static_cast<uint32_t>(sizeof header + length);
  header.opcode = opcode;
  header.unique = unique;
  header.nodeid = nodeid;
  std::vector<uint8_t> bytes(header.len);
  std::memcpy(bytes.data(), &header, sizeof header);
  if (length > 0) std::memcpy(bytes.data() + sizeof header, body, length);
  return bytes;
}

std::vector<uint8_t> Init(uint32_t major, uint32_t minor, uint64_t flags, size_t size) {
  fuse_init_in in{};
  in.major = major;
  in.minor = minor;
  in.flags = static_cast<uint32_t>(flags);
  in.flags2 = static_cast<uint32_t>(flags >> 32);
  return Request(FUSE_INIT, 1, 0, &in, size);
}

int ErrorOf(const std::vector<uint8_t>& reply) {
  fuse_out_header header;
  CHECK(reply.size() >= sizeof header);
  std::memcpy(&header, reply.data(), sizeof header);
  CHECK_EQ(header.len, reply.size());
  return -header.error;
}

template <typename T>
T BodyOf(const std::vector<uint8_t>& reply) {
  T body{};
  size_t length = std::min(reply.size() - sizeof(fuse_out_header), sizeof(T));
  std::memcpy(static_cast<void*>(&body), reply.data() + sizeof(fuse_out_header), length);
  return body;
}

/** A server over a script. */
struct Scripted {
  explicit Scripted(bool is_flat = false) : image(ReadWhole(data_directory + "/image")) {
    FuseServerOptions options;
    options.kind = is_flat ? FuseServerOptions::Kind::kFlat : FuseServerOptions::Kind::kErofs;
    options.metadata = image.data();
    options.metadata_length = image.size();
    options.devices = devices.specs;
    std::string why;
    server = FuseServer::StartOn(channel, options, &handler, [this] { ended++; }, &why);
    if (server != nullptr) return;
    std::fprintf(stderr, "%s\n", why.c_str());
    std::exit(1);
  }
  std::vector<uint8_t> Ask(std::vector<uint8_t> request) {
    channel->Push(std::move(request));
    return channel->Pop();
  }

  Devices devices;
  TestHandler handler;
  std::vector<uint8_t> image;
  std::shared_ptr<ScriptedChannel> channel = std::make_shared<ScriptedChannel>();
  std::atomic<int> ended{0};
  std::unique_ptr<FuseServer> server;
};

void OldKernels() {
  struct Case {
    uint32_t minor;
    size_t init_size;
    size_t init;
    size_t entry;
    size_t attr;
    size_t statfs;
  };
  for (const Case& c : {Case{3, 8, 8, 120, 96, 48}, Case{8, 16, 24, 120, 96, 80},
                        Case{12, 16, 24, 128, 104, 80}, Case{31, 16, 64, 128, 104, 80},
                        Case{45, 64, 64, 128, 104, 80}}) {
    Scripted s;
    std::vector<uint8_t> reply = s.Ask(Init(7, c.minor, 0, c.init_size));
    CHECK_EQ(ErrorOf(reply), 0);
    CHECK_EQ(reply.size(), 16 + c.init);
    CHECK_EQ(BodyOf<fuse_init_out>(reply).minor, std::min(c.minor, kFuseMinor));
    CHECK_EQ(s.Ask(Request(FUSE_LOOKUP, 2, 1, "hello", 6)).size(), 16 + c.entry);
    CHECK_EQ(s.Ask(Request(FUSE_GETATTR, 3, 1, nullptr, 0)).size(), 16 + c.attr);
    CHECK_EQ(s.Ask(Request(FUSE_STATFS, 4, 1, nullptr, 0)).size(), 16 + c.statfs);
    reply = s.Ask(Request(FUSE_LOOKUP, 5, 1, "absent", 7));
    CHECK_EQ(ErrorOf(reply), c.minor < 4 ? ENOENT : 0);
    CHECK_EQ(BodyOf<fuse_entry_out>(reply).nodeid, 0);
    // What the kernel did not offer to take for granted is answered.
    uint8_t open[8]{};
    reply = s.Ask(Request(FUSE_OPENDIR, 6, 1, open, sizeof open));
    CHECK_EQ(ErrorOf(reply), 0);
    CHECK_EQ(BodyOf<fuse_open_out>(reply).open_flags, FOPEN_KEEP_CACHE | FOPEN_CACHE_DIR);
    s.channel->CloseConnection();
    while (s.ended == 0) SleepMs(1);
  }
}

void OtherMajors() {
  Scripted s;
  std::vector<uint8_t> reply = s.Ask(Init(8, 0, 0, 16));
  CHECK_EQ(ErrorOf(reply), 0);
  CHECK_EQ(BodyOf<fuse_init_out>(reply).major, 7);
  CHECK_EQ(ErrorOf(s.Ask(Request(FUSE_GETATTR, 2, 1, nullptr, 0))), EIO);
  CHECK_EQ(ErrorOf(s.Ask(Init(6, 1, 0, 16))), EPROTO);
  CHECK_EQ(ErrorOf(s.Ask(Init(7, 31, 0, 4))), EINVAL);
  CHECK_EQ(ErrorOf(s.Ask(Init(7, 31, 0, 16))), 0);
  CHECK_EQ(ErrorOf(s.Ask(Init(7, 31, 0, 16))), EIO);
}

void Flags() {
  Scripted s;
  fuse_init_out out = BodyOf<fuse_init_out>(s.Ask(Init(7, 45, ~uint64_t{0}, 64)));
  CHECK_EQ(out.max_pages, 256);
  CHECK(out.flags & FUSE_PARALLEL_DIROPS);
  CHECK(out.flags & kFuseInitExt);
  CHECK(!(out.flags & (FUSE_WRITEBACK_CACHE | FUSE_POSIX_ACL | FUSE_HANDLE_KILLPRIV)));
  CHECK_EQ(out.flags2, kFuseAllowIdmap >> 32);
  uint8_t open[8]{};
  CHECK_EQ(ErrorOf(s.Ask(Request(FUSE_OPENDIR, 6, 1, open, sizeof open))), ENOSYS);
  CHECK_EQ(ErrorOf(s.Ask(Request(FUSE_FLUSH, 7, 1, open, sizeof open))), ENOSYS);
  CHECK_EQ(ErrorOf(s.Ask(Request(kOpStatx, 8, 1, open, sizeof open))), ENOSYS);
  CHECK_EQ(ErrorOf(s.Ask(Request(9999, 9, 1, nullptr, 0))), ENOSYS);
  CHECK_EQ(ErrorOf(s.Ask(Request(FUSE_LOOKUP, 10, 1, "open", 4))), EINVAL);
  Scripted flat(true);
  CHECK_EQ(BodyOf<fuse_init_out>(flat.Ask(Init(7, 45, ~uint64_t{0}, 64))).flags2, 0);
}

/** An interrupt may overtake the request that it is about. */
void EarlyInterrupt() {
  Scripted s(true);
  s.Ask(Init(7, 31, 0, 16));
  fuse_interrupt_in interrupt{77};
  s.channel->Push(Request(FUSE_INTERRUPT, 78, 0, &interrupt, sizeof interrupt));
  while (s.server->stats().requests < 2) SleepMs(1);
  SleepMs(20);
  fuse_read_in read{};
  read.size = 4096;
  std::vector<uint8_t> reply = s.Ask(Request(FUSE_READ, 77, 3, &read, sizeof read));
  CHECK_EQ(ErrorOf(reply), EINTR);
  // Forgetting is not answered, and nothing else comes.
  uint8_t forget[16]{};
  s.channel->Push(Request(FUSE_FORGET, 79, 3, forget, 8));
  s.channel->Push(Request(FUSE_BATCH_FORGET, 80, 0, forget, 16));
  CHECK_EQ(ErrorOf(s.Ask(Request(FUSE_GETATTR, 81, 1, nullptr, 0))), 0);
  CHECK_EQ(s.channel->reply_count(), 0);
}

void RefusedReply() {
  Scripted s;
  s.Ask(Init(7, 31, 0, 16));
  s.channel->RefuseData();
  CHECK_EQ(ErrorOf(s.Ask(Request(FUSE_GETATTR, 2, 1, nullptr, 0))), EIO);
}

/** Reads beyond what was agreed on, and of what is no file. */
void OddReads() {
  Scripted s(true);
  s.Ask(Init(7, 31, 0, 16));
  fuse_read_in read{};
  read.size = 0xffffffff;
  CHECK_EQ(ErrorOf(s.Ask(Request(FUSE_READ, 2, 2, &read, sizeof read))), EINVAL);
  read.size = 4096;
  CHECK_EQ(ErrorOf(s.Ask(Request(FUSE_READ, 3, 1, &read, sizeof read))), EISDIR);
  CHECK_EQ(ErrorOf(s.Ask(Request(FUSE_READ, 4, 99, &read, sizeof read))), ENOENT);
  CHECK_EQ(ErrorOf(s.Ask(Request(FUSE_READ, 5, 2, &read, 8))), EINVAL);
  read.offset = ~uint64_t{0};
  CHECK_EQ(s.Ask(Request(FUSE_READ, 6, 2, &read, sizeof read)).size(), 16);
  read.offset = 0;
  read.size = 0;
  CHECK_EQ(s.Ask(Request(FUSE_READ, 7, 2, &read, sizeof read)).size(), 16);
}

void BadOptions() {
  Devices devices;
  std::vector<uint8_t> image = ReadWhole(data_directory + "/image");
  auto start = [&](auto change) {
    FuseServerOptions options;
    options.metadata = image.data();
    options.metadata_length = image.size();
    options.devices = devices.specs;
    change(options);
    TestHandler handler;
    std::string why;
    bool has_ended = false;
    auto server = FuseServer::StartOn(std::make_shared<ScriptedChannel>(), options, &handler,
                                      [&] { has_ended = true; }, &why);
    CHECK(server == nullptr);
    CHECK(!why.empty());
    CHECK(!has_ended);
  };
  start([](auto& o) { o.metadata_length = 1500; });
  start([](auto& o) { o.metadata_length -= 1; });
  start([](auto& o) { o.devices.pop_back(); });
  start([](auto& o) { o.devices[0].offset = 2000; });
  start([](auto& o) { o.devices[0].size = ~uint64_t{0}; });
  start([](auto& o) { o.devices[1].state_length--; });
  start([](auto& o) { o.devices[2].bytes_length--; });
  start([](auto& o) { o.devices[2].size = 2000000; });
  start([](auto& o) { o.devices[0].size = 12345; });
  start([](auto& o) { o.devices[2].kind = DeviceSpec::Kind::kMemory; });
}

/** Asks everything of the tree that a kernel could, through the dispatcher. */
void Explore(const std::vector<uint8_t>& image, std::mt19937& random) {
  std::string why;
  auto view = ErofsView::Open(image.data(), image.size(), &why);
  if (view == nullptr) return;
  ErofsFilesystem filesystem(std::move(view), 0);
  FuseSession session;
  session.is_initialized = true;
  session.minor = 31;
  FuseDispatcher dispatcher(filesystem, session, true);
  std::vector<uint8_t> buffer(1 << 16);
  std::vector<uint64_t> nodes{1};
  for (size_t index = 0; index < nodes.size() && index < 60; index++) {
    uint8_t args[64]{};
    fuse_read_in read{};
    read.size = static_cast<uint32_t>(buffer.size());
    read.offset = index % 3 == 0 ? 0 : random();
    for (uint32_t opcode = 1; opcode < 53; opcode++) {
      std::vector<uint8_t> bytes =
          opcode == FUSE_LOOKUP || opcode == FUSE_GETXATTR
              ? Request(opcode, 2, nodes[index], "\0\0\1\0\0\0\0\0user.a", 15)
              : Request(opcode, 2, nodes[index], args, sizeof args);
      if (opcode == FUSE_READDIR || opcode == FUSE_READDIRPLUS) {
        bytes = Request(opcode, 2, nodes[index], &read, sizeof read);
      }
      FuseRequest request;
      CHECK(request.Parse(bytes.data(), bytes.size()));
      FuseReply reply(buffer.data(), buffer.size());
      int error = dispatcher.Answer(request, &reply);
      CHECK(error >= 0 && error <= kMaxErrno);
      if (opcode != FUSE_READDIRPLUS || error != 0) continue;
      for (size_t at = 0; at + sizeof(fuse_direntplus) <= reply.size();) {
        fuse_direntplus entry;
        std::memcpy(static_cast<void*>(&entry), reply.data() + at, sizeof entry);
        if (entry.entry_out.nodeid != 0) nodes.push_back(entry.entry_out.nodeid);
        at += FUSE_DIRENTPLUS_SIZE(&entry);
      }
    }
    std::vector<FileExtent> extents;
    uint64_t result;
    filesystem.MapRead(nodes[index], random(), 1 << 20, &extents);
    filesystem.Seek(nodes[index], 0, true, &result);
  }
}

void ForgedImages() {
  // A small tree, so that most flips hit something that means something: the first blocks of the image.
  std::vector<uint8_t> image = ReadWhole(data_directory + "/image");
  std::mt19937 random(12345);
  Explore(image, random);
  std::vector<uint8_t> forged = image;
  for (int round = 0; round < 300; round++) {
    std::vector<std::pair<size_t, uint8_t>> undo;
    for (int flip = 0; flip < 30; flip++) {
      // Not the superblock, whose checksum would end it all there.
      size_t at = 1536 + random() % (flip % 2 == 0 ? 16384 : forged.size() - 1536);
      undo.emplace_back(at, forged[at]);
      forged[at] = static_cast<uint8_t>(random());
    }
    Explore(forged, random);
    while (!undo.empty()) {
      forged[undo.back().first] = undo.back().second;
      undo.pop_back();
    }
  }
}

}  // namespace

const std::vector<TestCase> kProtocolTests = {
    {"old kernels get the sizes they know", OldKernels},
    {"other major versions", OtherMajors},
    {"flags of INIT", Flags},
    {"an interrupt before its request", EarlyInterrupt},
    {"a reply that the kernel refuses", RefusedReply},
    {"odd reads", OddReads},
    {"options that are not sound", BadOptions},
    {"forged images", ForgedImages},
};

}  // namespace ocimount::test
