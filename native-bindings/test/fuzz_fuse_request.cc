// libFuzzer: requests of any bytes, one after the other, against flat devices. The first 2 bytes are flags and the protocol's
// minor version, then each request is a length byte, doubled, and its bytes; header.len is made right.

#include <cstdint>
#include <cstring>
#include <memory>
#include <string>
#include <vector>

#include "device.h"
#include "flat_filesystem.h"
#include "fuse_dispatch.h"

namespace {

using namespace ocimount;  // NOLINT

class Faults final : public FaultSink {
  void OnFault(uint32_t, int, const char*) override {}
};

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  static Faults faults;
  static const uint8_t content[100] = {};
  static std::vector<uint8_t> body(1 << 16);
  if (size < 2) return 0;
  DeviceSpec spec;
  spec.size = spec.bytes_length = sizeof content;
  spec.bytes = content;
  std::string why;
  std::unique_ptr<DeviceSet> devices = DeviceSet::Open({spec, spec, spec}, &faults, &why);
  FlatFilesystem filesystem(devices.get());
  FuseSession session;
  FuseDispatcher dispatcher(filesystem, session, data[0] & 1);
  session.minor = data[1] % 64;
  size_t at = 2;
  while (at < size) {
    size_t length = std::min<size_t>(size_t{data[at]} * 2, size - at - 1);
    std::vector<uint8_t> bytes(data + at + 1, data + at + 1 + length);
    at += 1 + length;
    uint32_t claimed = static_cast<uint32_t>(length);
    if (length >= 4) std::memcpy(bytes.data(), &claimed, sizeof claimed);
    FuseRequest request;
    if (!request.Parse(bytes.data(), bytes.size())) continue;
    FuseReply reply(body.data(), body.size());
    int error = request.opcode() == FUSE_INIT ? session.Negotiate(request, data[0] & 2, &reply)
                                              : dispatcher.Answer(request, &reply);
    if (error < 0 || error > kMaxErrno || reply.size() > body.size()) __builtin_trap();
  }
  return 0;
}
