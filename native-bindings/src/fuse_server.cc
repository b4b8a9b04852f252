#include "fuse_server.h"

#include <cerrno>
#include <cstdlib>

#include "fuse_core.h"

namespace ocimount {

namespace {

/** Gives an errno of either sign as a positive one. Inside the server EAGAIN says that pieces are missing, so it is none here. */
int Errno(int error) {
  if (error < -kMaxErrno || error > kMaxErrno) return EIO;
  return std::abs(error) == EAGAIN ? EIO : std::abs(error);
}

}  // namespace

FuseServer::FuseServer(std::shared_ptr<Core> core) : core_(std::move(core)) {}

FuseServer::~FuseServer() {
  Stop();
  if (core_->main_thread.joinable()) core_->main_thread.join();
}

std::unique_ptr<FuseServer> FuseServer::Start(const FuseServerOptions& options,
                                              MissHandler* handler, std::function<void()> on_ended,
                                              std::string* why) {
  std::shared_ptr<FuseChannel> channel = FuseDeviceChannel::Open(options.fd);
  if (channel == nullptr) {
    *why = "Cannot serve FUSE: there are no descriptors left";
    return nullptr;
  }
  return StartOn(std::move(channel), options, handler, std::move(on_ended), why);
}

std::unique_ptr<FuseServer> FuseServer::StartOn(std::shared_ptr<FuseChannel> channel,
                                                const FuseServerOptions& options,
                                                MissHandler* handler,
                                                std::function<void()> on_ended, std::string* why) {
  auto core = std::make_shared<Core>(std::move(channel), handler, std::move(on_ended));
  if (!core->Open(options, why)) return nullptr;
  if (!core->Start()) {
    *why = "Cannot serve FUSE: there are no threads left";
    return nullptr;
  }
  return std::unique_ptr<FuseServer>(new FuseServer(std::move(core)));
}

void FuseServer::Complete(uint32_t device, uint64_t piece, uint64_t count, int error) {
  core_->misses.Complete(device, piece, count, Errno(error), *core_->devices);
}

void FuseServer::CompleteWithBytes(uint32_t device, uint64_t piece, std::vector<uint8_t> bytes) {
  if (bytes.size() > kPieceSize) {
    Complete(device, piece, 1, EIO);
    return;
  }
  core_->misses.CompleteWithBytes({device, piece}, std::move(bytes));
}

void FuseServer::CompletePart(uint32_t device, uint64_t offset, std::vector<uint8_t> bytes) {
  if (offset > UINT64_MAX - bytes.size()) return;
  core_->misses.CompletePart(device, offset, std::move(bytes));
}

void FuseServer::FailPart(uint32_t device, uint64_t offset, uint64_t length, int error) {
  if (offset > UINT64_MAX - length) return;
  core_->misses.FailPart(device, offset, offset + length, error == 0 ? EIO : Errno(error));
}

void FuseServer::Fail(uint32_t device, int error) {
  core_->devices->Fail(device, error == 0 ? EIO : Errno(error));
  core_->misses.WakeDevice(device);
}

FuseServerStats FuseServer::stats() const {
  constexpr auto kOrder = std::memory_order_relaxed;
  return {core_->requests.load(kOrder), core_->reads.load(kOrder),
          core_->bytes_read.load(kOrder), core_->miss_count.load(kOrder)};
}

void FuseServer::Stop() { core_->Stop(); }

}  // namespace ocimount
