// Reads that wait for pieces, and how they end.

#include <fcntl.h>
#include <sys/resource.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <thread>

#include "fuse_fixture.h"
#include "fuse_tests.h"
#include "miss_table.h"
#include "piece_use.h"

namespace ocimount::test {

namespace {

std::string Expected() {
  return Run({"cat", data_directory + "/dev1"});
}

/** Many readers of one absent file: each piece is asked for once, and all get it. */
void ManyReaders() {
  Devices devices;
  TestHandler handler;
  Mount mount(&devices, &handler);
  handler.Serve([&](const MissRun& miss) {
    CHECK_EQ(miss.device, 1);
    SleepMs(30);
    devices.Fill(miss.piece, miss.count);
    mount.server->Complete(miss.device, miss.piece, miss.count, 0);
  });
  std::string expected = Expected();
  std::vector<std::unique_ptr<Child>> readers;
  for (int index = 0; index < 200; index++) {
    readers.push_back(std::make_unique<Child>(
        std::vector<std::string>{"cat", mount.path + "/pieces"}));
  }
  for (auto& reader : readers) {
    CHECK_EQ(reader->Wait(), 0);
    CHECK(reader->output() == expected);
  }
  CHECK_EQ(handler.misses, devices.state.size());
  CHECK_EQ(mount.server->stats().misses, devices.state.size());
  handler.Finish();
  mount.Unmount();
  CHECK(mount.WaitForEnd());
}

/** What need not wait goes on while others wait; a failure reaches all that wait. */
void OthersGoOn() {
  Devices devices;
  devices.Fill(3, 1);
  TestHandler handler;
  Mount mount(&devices, &handler);
  Child waiting({"cat", mount.path + "/pieces"});
  while (handler.misses == 0) SleepMs(1);
  CHECK(Run({"pread", mount.path + "/pieces", std::to_string(3 * kPieceSize)}) == "4096\n");
  CHECK(!Run({"cat", mount.path + "/region"}).starts_with("errno"));
  CHECK(!waiting.WaitFor(50));
  // The kernel asks again after a read ahead that failed, so every miss has to fail.
  handler.Serve([&](const MissRun& miss) {
    mount.server->Complete(miss.device, miss.piece, miss.count, -EIO);
  });
  CHECK_EQ(waiting.Wait(), 0);
  CHECK(waiting.output() == "errno 5\n");
  devices.FillAll();
  CHECK(Run({"cat", mount.path + "/pieces"}) == Expected());
  handler.Finish();
}

/** A full disk: pieces come as bytes and are served, more of them than are kept. */
void BytesInMemory() {
  Devices devices;
  TestHandler handler;
  Mount mount(&devices, &handler);
  handler.Serve([&](const MissRun& miss) {
    for (uint64_t index = miss.piece; index < miss.piece + miss.count; index++) {
      auto begin = devices.source.begin() + static_cast<ptrdiff_t>(index * kPieceSize);
      auto end = devices.source.begin() +
                 static_cast<ptrdiff_t>(std::min<size_t>((index + 1) * kPieceSize, devices.source.size()));
      mount.server->CompleteWithBytes(miss.device, index, {begin, end});
    }
  });
  CHECK(Run({"cat", mount.path + "/pieces"}) == Expected());
  CHECK(!Run({"cat", mount.path + "/virtual"}).starts_with("errno"));
  CHECK_EQ(handler.misses, devices.state.size());
  for (uint8_t state : devices.state) CHECK_EQ(state, 0);
  handler.Finish();
}

/**
 * Stretches of pieces come before the pieces: who wants no more has it, with the piece still absent; another stretch of it is asked
 * for by who wants that, and what comes in the end is for those who are left.
 */
void PartsOfPieces() {
  Devices devices;
  devices.specs[1].has_parts = true;
  TestHandler handler;
  Mount mount(&devices, &handler);
  const std::string path = mount.path + "/pieces";
  std::atomic<uint64_t> served{0};
  handler.Serve([&](const MissRun& miss) {
    CHECK_EQ(miss.begin / kPieceSize, miss.piece);
    CHECK_EQ((miss.end - 1) / kPieceSize, miss.piece + miss.count - 1);
    // Of one stretch nothing comes until all does, and of another one byte is left out.
    if (miss.begin == 9 * 4096) return;
    uint64_t end = miss.end - (miss.begin == 19 * 4096 ? 1 : 0);
    auto from = devices.source.begin() + static_cast<ptrdiff_t>(miss.begin);
    auto to = devices.source.begin() + static_cast<ptrdiff_t>(end);
    mount.server->CompletePart(miss.device, miss.begin, {from, to});
    served++;
  });
  std::vector<std::unique_ptr<Child>> waiting;
  for (int number : {9, 19}) {
    waiting.push_back(std::make_unique<Child>(
        std::vector<std::string>{"pread", path, std::to_string(number * 4096)}));
  }
  while (handler.misses < 2) SleepMs(1);
  for (uint64_t offset : {uint64_t{0}, 5 * uint64_t{4096}, uint64_t{0}, kPieceSize - 2048}) {
    CHECK(Run({"pread", path, std::to_string(offset)}) == "4096\n");
  }
  CHECK(served >= 4);
  for (uint8_t state : devices.state) CHECK_EQ(state, 0);
  for (auto& reader : waiting) CHECK(!reader->WaitFor(20));
  devices.Fill(0, 1);
  mount.server->Complete(1, 0, 1, 0);
  for (auto& reader : waiting) {
    CHECK_EQ(reader->Wait(), 0);
    CHECK(reader->output() == "4096\n");
  }
  CHECK(Run({"cat", path}) == Expected());
  handler.Finish();
  mount.Unmount();
  CHECK(mount.WaitForEnd());
}

/** Of those who want different parts of one piece, one that cannot be had is an error to who wants that. */
void PartThatFails() {
  Devices devices;
  devices.specs[1].has_parts = true;
  TestHandler handler;
  Mount mount(&devices, &handler);
  const std::string path = mount.path + "/pieces";
  handler.Serve([&](const MissRun& miss) {
    if (miss.begin != 3 * 4096) return;
    mount.server->FailPart(miss.device, miss.begin, miss.end - miss.begin, -EIO);
  });
  Child other({"pread", path, std::to_string(9 * 4096)});
  while (handler.misses == 0) SleepMs(1);
  CHECK(Run({"pread", path, std::to_string(3 * 4096)}) == "EIO\n");
  CHECK(!other.WaitFor(50));
  // The next one asks again.
  CHECK(Run({"pread", path, std::to_string(3 * 4096)}) == "EIO\n");
  auto from = devices.source.begin();
  mount.server->CompletePart(1, 0, {from, from + 10 * 4096});
  CHECK_EQ(other.Wait(), 0);
  CHECK(other.output() == "4096\n");
  handler.Finish();
}

/** A run that fails has pieces that came all the same: who waits for those has them. */
void FailedButThere() {
  Devices devices;
  TestHandler handler;
  Mount mount(&devices, &handler);
  handler.Serve([&](const MissRun& miss) {
    devices.Fill(miss.piece, 1);
    mount.server->Complete(miss.device, miss.piece, miss.count, EIO);
  });
  for (size_t piece = 0; piece < devices.state.size(); piece++) {
    CHECK(Run({"pread", mount.path + "/pieces", std::to_string(piece * kPieceSize)}) != "EIO\n");
  }
  CHECK(Run({"cat", mount.path + "/pieces"}) == Expected());
  handler.Finish();
}

class NoFaults final : public FaultSink {
 public:
  void OnFault(uint32_t, int, const char* what) override { CHECK(what == nullptr); }
};

/** Makes pieces absent, waits out whoever reads them, as piece_use.h says, and punches them out. */
void PunchOut(const DeviceSpec& spec, uint64_t piece) {
  std::atomic_ref<uint8_t>(spec.state[piece]).store(0);
  auto* words = reinterpret_cast<int32_t*>(spec.use);
  for (int round = 0; round < 2; round++) {
    int32_t epoch = std::atomic_ref<int32_t>(words[0]).fetch_add(1);
    while (std::atomic_ref<int32_t>(words[1 + (epoch & 1)]).load() != 0) std::this_thread::yield();
  }
  CHECK_EQ(fallocate(spec.fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE,
                     static_cast<off_t>(piece * kPieceSize), kPieceSize),
           0);
}

/**
 * Holes are punched under readers, who never get a zero of one. A state comes back as the same number at once, so that
 * nothing but waiting keeps them from it.
 */
void PunchedUnderReaders() {
  Devices devices;
  std::vector<int32_t> use(kPieceUseHeader / sizeof(int32_t) + devices.state.size());
  DeviceSpec spec = devices.specs[1];
  spec.use = reinterpret_cast<uint8_t*>(use.data());
  spec.use_length = use.size() * sizeof(int32_t);
  NoFaults faults;
  std::string why;
  auto set = DeviceSet::Open({spec}, &faults, &why);
  CHECK(set != nullptr);
  if (set == nullptr) return;
  devices.FillAll();
  MissTable spares;
  std::atomic<bool> is_over{false};
  std::atomic<uint64_t> wrong{0};
  std::atomic<uint64_t> right{0};
  std::vector<std::thread> readers;
  for (unsigned number = 0; number < 4; number++) {
    readers.emplace_back([&, number] {
      std::vector<uint8_t> bytes(1 << 17);
      std::vector<MissingPart> missing;
      for (uint64_t at = number * 77777; !is_over; at = at * 31 + 12345) {
        uint64_t offset = at % (spec.size - bytes.size());
        missing.clear();
        if (set->Read(0, offset, bytes.data(), bytes.size(), spares, &missing) != 0) continue;
        bool is_right = std::equal(bytes.begin(), bytes.end(),
                                   devices.source.begin() + static_cast<ptrdiff_t>(offset));
        (is_right ? right : wrong)++;
      }
    });
  }
  const auto all_touched = [&] {
    uint8_t* touched = spec.use + kPieceUseHeader;
    return std::all_of(touched, touched + devices.state.size(),
                       [](uint8_t& byte) { return std::atomic_ref(byte).load() != 0; });
  };
  for (uint64_t round = 0; round < 400 || right < 1000 || !all_touched(); round++) {
    uint64_t piece = round % devices.state.size();
    PunchOut(spec, piece);
    devices.Fill(piece, 1);
  }
  is_over = true;
  for (std::thread& reader : readers) reader.join();
  CHECK_EQ(wrong, 0);
  for (size_t piece = 0; piece < devices.state.size(); piece++) {
    CHECK_EQ(spec.use[kPieceUseHeader + piece], 1);
  }
  CHECK_EQ(use[1] + use[2], 0);
}

/** A state byte that lies: what the file lacks is asked for again, and endless lies end in EIO. */
void LyingState() {
  Devices devices;
  for (uint8_t& state : devices.state) state = 2;
  TestHandler handler;
  Mount mount(&devices, &handler);
  handler.Serve([&](const MissRun& miss) {
    std::atomic_ref<uint8_t> state(devices.state[miss.piece]);
    CHECK_EQ(state.load(), 1);
    state.store(2);
    mount.server->Complete(miss.device, miss.piece, miss.count, 0);
  });
  CHECK(Run({"pread", mount.path + "/pieces", "0"}) == "EIO\n");
  CHECK(handler.misses > 10);
  CHECK(handler.misses < 20);
  handler.Finish();
}

/** An errno that means something else inside the server must reach the reader as an error. */
void FailedWithEagain() {
  Devices devices;
  TestHandler handler;
  Mount mount(&devices, &handler);
  handler.Serve([&](const MissRun& miss) {
    mount.server->Complete(miss.device, miss.piece, miss.count, EAGAIN);
  });
  CHECK(Run({"pread", mount.path + "/pieces", "0"}) == "EIO\n");
  CHECK_EQ(handler.misses, 1);
  handler.Finish();
}

/** Killing who waits: the kernel interrupts the request, and the process goes at once. */
void Interrupted() {
  Devices devices;
  TestHandler handler;
  Mount mount(&devices, &handler);
  Child direct({"pread", mount.path + "/pieces", "0"});
  Child cached({"cat", mount.path + "/pieces-odd"});
  while (handler.misses < 2) SleepMs(1);
  direct.Kill();
  cached.Kill();
  CHECK(direct.WaitFor(5000));
  CHECK(cached.WaitFor(5000));
  CHECK_EQ(direct.Wait(), 128 + 9);
  devices.FillAll();
  for (uint64_t piece = 0; piece < devices.state.size(); piece++) {
    mount.server->Complete(1, piece, 1, 0);
  }
  CHECK(Run({"cat", mount.path + "/pieces"}) == Expected());
}

/** Stop with readers that wait: they get an error at once, the threads end, and only then OnEnded comes. */
void StopWhileWaiting() {
  Devices devices;
  TestHandler handler;
  Mount mount(&devices, &handler);
  std::vector<std::unique_ptr<Child>> readers;
  for (int index = 0; index < 20; index++) {
    readers.push_back(std::make_unique<Child>(
        std::vector<std::string>{"pread", mount.path + "/pieces", std::to_string(index * 200000)}));
  }
  while (handler.misses < 4) SleepMs(1);
  CHECK_EQ(mount.ended, 0);
  mount.server->Stop();
  CHECK(mount.WaitForEnd());
  for (auto& reader : readers) {
    CHECK(reader->WaitFor(5000));
    CHECK(reader->output() == "EIO\n" || reader->output() == "ENOTCONN\n" ||
          reader->output() == "ECONNABORTED\n" || reader->output() == "EBADF\n");
  }
  mount.server->Complete(1, 0, 1, 0);
  mount.server->Stop();
  CHECK_EQ(mount.ended, 1);
}

void StopIdle() {
  for (int round = 0; round < 20; round++) {
    Devices devices;
    TestHandler handler;
    Mount mount(&devices, &handler);
    if (round % 2 == 0) Run({"list", mount.path + "/bare"});
    mount.server->Stop();
    CHECK(mount.WaitForEnd());
  }
}

/** One thread that started before the mount must hear of all that comes after. */
void OneThread() {
  Devices devices;
  devices.FillAll();
  TestHandler handler;
  Mount mount(&devices, &handler, Mount::Image::kFull, false, 1);
  for (int round = 0; round < 3; round++) {
    SleepMs(20);
    CHECK(Run({"cat", mount.path + "/pieces"}) == Expected());
    Run({"list", mount.path + "/bare"});
  }
  mount.server->Stop();
  CHECK(mount.WaitForEnd());
}

/** A server whose mount never comes. */
void StopWithoutMount() {
  Devices devices;
  TestHandler handler;
  FuseServerOptions options;
  std::atomic<int> ended{0};
  std::string why;
  options.kind = FuseServerOptions::Kind::kFlat;
  options.devices = devices.specs;
  options.fd = open("/dev/fuse", O_RDWR | O_CLOEXEC);
  auto server = FuseServer::Start(options, &handler, [&] { ended++; }, &why);
  CHECK(server != nullptr);
  SleepMs(50);
  CHECK_EQ(ended, 0);
  server = nullptr;
  CHECK_EQ(ended, 1);
}

void UnmountInFlight() {
  Devices devices;
  TestHandler handler;
  Mount mount(&devices, &handler);
  Child reader({"cat", mount.path + "/pieces"});
  Child busy({"walk", mount.path});
  while (handler.misses == 0) SleepMs(1);
  // Lazily: the readers hold it. When they are gone, so is the connection.
  mount.Unmount(true);
  CHECK(!mount.WaitForEnd(50));
  reader.Kill();
  busy.Kill();
  CHECK(reader.WaitFor(5000));
  CHECK(busy.WaitFor(5000));
  // Reads ahead that nobody waits for keep their inode; failing them lets it go.
  for (uint64_t piece = 0; piece < devices.state.size(); piece++) {
    mount.server->Complete(1, piece, 1, EIO);
  }
  CHECK(mount.WaitForEnd());
}

/** An idle server must not use the processor. */
void IdleCost() {
  Devices devices;
  TestHandler handler;
  Mount mount(&devices, &handler);
  Run({"list", mount.path + "/bare"});
  rusage before;
  rusage after;
  getrusage(RUSAGE_SELF, &before);
  SleepMs(300);
  getrusage(RUSAGE_SELF, &after);
  CHECK(after.ru_nvcsw - before.ru_nvcsw < 20);
}

}  // namespace

const std::vector<TestCase> kMissTests = {
    {"200 readers of absent pieces", ManyReaders},
    {"others go on while one waits", OthersGoOn},
    {"pieces in memory", BytesInMemory},
    {"parts of pieces", PartsOfPieces},
    {"a part that fails", PartThatFails},
    {"a miss that fails, of a piece that is there", FailedButThere},
    {"pieces that are punched out under readers", PunchedUnderReaders},
    {"a state byte that lies", LyingState},
    {"a miss that fails with EAGAIN", FailedWithEagain},
    {"a killed reader", Interrupted},
    {"stop with waiting readers", StopWhileWaiting},
    {"stop an idle server", StopIdle},
    {"a single thread", OneThread},
    {"stop before there is a mount", StopWithoutMount},
    {"unmount with requests in flight", UnmountInFlight},
    {"an idle server sleeps", IdleCost},
};

}  // namespace ocimount::test
