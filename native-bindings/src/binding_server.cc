// The class FuseServer over fuse_server.h.

#include <unistd.h>

#include <cerrno>
#include <memory>
#include <new>
#include <string>
#include <utility>
#include <vector>

#include "binding_async.h"
#include "binding_exports.h"
#include "binding_values.h"
#include "fuse_server.h"

namespace ocimount {
namespace {

constexpr double kMaxThreads = 64;
constexpr double kMaxErrno = 4095;

class ServerHost final : public MissHandler {
 public:
  /** Gives nothing, with an exception pending, where the server cannot be. */
  static std::shared_ptr<ServerHost> Start(napi_env env, const Fields& fields, napi_value self);

  void OnMiss(const MissRun& run) override { Post({.kind = Event::Kind::kMiss, .miss = run}); }
  void OnFault(uint32_t device, int error, const char* what) override {
    Post({.kind = Event::Kind::kFault, .device = device, .error = error, .what = what});
  }

  /** Gives nothing after the end. */
  FuseServer* server() const { return server_.get(); }
  FuseServerStats stats() const { return server_ == nullptr ? last_stats_ : server_->stats(); }

 private:
  /** No event at all means the end. */
  struct Event {
    enum class Kind { kMiss, kFault };

    Kind kind = Kind::kMiss;
    MissRun miss = {};
    uint32_t device = 0;
    int error = 0;
    const char* what = "";
  };

  bool ReadOptions(const Fields& fields, FuseServerOptions* options);
  void Post(const Event& event);
  void PostEnded();
  static void OnEvent(napi_env env, napi_value, void* context, void* data);
  void Finish(napi_env env);
  static void OnCleanup(void* data);

  napi_env env_ = nullptr;
  napi_threadsafe_function queue_ = nullptr;
  napi_deferred ended_ = nullptr;
  Kept kept_;
  size_t on_miss_ = 0;
  size_t on_fault_ = 0;
  std::unique_ptr<FuseServer> server_;
  FuseServerStats last_stats_;
  /** Itself until the end. */
  std::shared_ptr<ServerHost> self_;
};

void ServerHost::Post(const Event& event) {
  auto* copy = new (std::nothrow) Event(event);
  if (copy == nullptr) return;
  // A queue refuses only when its environment is going away, and then the server is stopped, which answers all.
  if (napi_call_threadsafe_function(queue_, copy, napi_tsfn_nonblocking) != napi_ok) delete copy;
}

void ServerHost::PostEnded() {
  // Once the event is queued this object may be gone.
  napi_threadsafe_function queue = queue_;
  napi_call_threadsafe_function(queue, nullptr, napi_tsfn_nonblocking);
  napi_release_threadsafe_function(queue, napi_tsfn_release);
}

void ServerHost::OnEvent(napi_env env, napi_value, void* context, void* data) {
  const std::unique_ptr<Event> event(static_cast<Event*>(data));
  if (env == nullptr) return;
  auto* host = static_cast<ServerHost*>(context);
  if (event == nullptr) return host->Finish(env);
  switch (event->kind) {
    case Event::Kind::kMiss: {
      const MissRun& miss = event->miss;
      const auto number = [env](uint64_t value) {
        return Number(env, static_cast<double>(value));
      };
      const bool returned =
          CallBack(env, host->kept_.Get(env, host->on_miss_),
                   {number(miss.device), number(miss.piece), number(miss.count),
                    number(miss.begin), number(miss.end - miss.begin)});
      if (!returned && host->server_ != nullptr) {
        host->server_->Complete(miss.device, miss.piece, miss.count, EIO);
      }
      return;
    }
    case Event::Kind::kFault:
      CallBack(env, host->kept_.Get(env, host->on_fault_),
               {Number(env, event->device), Number(env, event->error), Text(env, event->what)});
      return;
  }
}

void ServerHost::Finish(napi_env env) {
  napi_remove_env_cleanup_hook(env, OnCleanup, this);
  last_stats_ = server_->stats();
  server_.reset();
  napi_resolve_deferred(env, ended_, Undefined(env));
  kept_.Drop(env);
  // The last thing: it may be the last owner.
  const std::shared_ptr<ServerHost> last = std::move(self_);
}

void ServerHost::OnCleanup(void* data) {
  auto* host = static_cast<ServerHost*>(data);
  host->server_.reset();
  const std::shared_ptr<ServerHost> last = std::move(host->self_);
}

bool ReadDevice(const Fields& fields, napi_env env, Kept* kept, DeviceSpec* spec) {
  const std::string kind = fields.Text("kind");
  spec->size = fields.Unsigned("size");
  if (kind == "region") {
    spec->kind = DeviceSpec::Kind::kRegion;
    spec->fd = fields.Fd("fd");
    spec->offset = fields.Unsigned("offset");
    spec->file_size = fields.Unsigned("fileSize");
    spec->mtime_ns = fields.LowBits("mtimeNs");
    spec->ctime_ns = fields.LowBits("ctimeNs");
  } else if (kind == "pieces") {
    spec->kind = DeviceSpec::Kind::kPieces;
    spec->fd = fields.Fd("fd");
    const Memory state = fields.Bytes("state");
    spec->state = state.data;
    spec->state_length = state.length;
    const Memory use = fields.Bytes("use");
    // An empty array: nobody punches holes.
    spec->use = use.length == 0 ? nullptr : use.data;
    spec->use_length = use.length;
    spec->has_parts = fields.Flag("hasParts");
    if (!IsThrown(env)) {
      kept->Add(env, state.value);
      kept->Add(env, use.value);
    }
  } else if (kind == "virtual" || kind == "memory") {
    const bool is_virtual = kind == "virtual";
    spec->kind = is_virtual ? DeviceSpec::Kind::kVirtual : DeviceSpec::Kind::kMemory;
    const Memory bytes = fields.Bytes(is_virtual ? "rows" : "bytes");
    spec->bytes = bytes.data;
    spec->bytes_length = bytes.length;
    if (!IsThrown(env)) kept->Add(env, bytes.value);
  } else {
    ThrowType(env, "kind", "region, pieces, virtual or memory");
  }
  return !IsThrown(env);
}

bool ServerHost::ReadOptions(const Fields& fields, FuseServerOptions* options) {
  const std::string kind = fields.Text("kind");
  if (kind == "erofs") {
    options->kind = FuseServerOptions::Kind::kErofs;
    const Memory metadata = fields.Bytes("metadata");
    if (IsThrown(env_)) return false;
    options->metadata = metadata.data;
    options->metadata_length = metadata.length;
    kept_.Add(env_, metadata.value);
  } else if (kind == "flat") {
    options->kind = FuseServerOptions::Kind::kFlat;
  } else {
    ThrowType(env_, "kind", "erofs or flat");
  }
  const napi_value devices = fields.Value("devices");
  uint32_t count = 0;
  if (napi_get_array_length(env_, devices, &count) != napi_ok) {
    ThrowType(env_, "devices", "an array");
  }
  for (uint32_t i = 0; i < count; ++i) {
    napi_value device = nullptr;
    napi_get_element(env_, devices, i, &device);
    if (!ReadDevice({env_, device}, env_, &kept_, &options->devices.emplace_back())) return false;
  }
  options->threads = static_cast<unsigned>(fields.Unsigned("threads", kMaxThreads));
  options->checks_access = fields.Flag("checksAccess");
  const napi_value on_miss = fields.Function("onMiss");
  const napi_value on_fault = fields.Function("onFault");
  if (IsThrown(env_)) return false;
  on_miss_ = kept_.Add(env_, on_miss);
  on_fault_ = kept_.Add(env_, on_fault);
  return true;
}

std::shared_ptr<ServerHost> ServerHost::Start(napi_env env, const Fields& fields,
                                              napi_value self) {
  FuseServerOptions options;
  options.fd = fields.Fd("fd");
  if (IsThrown(env)) return nullptr;
  auto host = std::make_shared<ServerHost>();
  host->env_ = env;
  if (!host->ReadOptions(fields, &options)) {
    close(options.fd);
    host->kept_.Drop(env);
    return nullptr;
  }
  host->queue_ = NewQueue(env, host.get(), OnEvent);
  std::string why;
  host->server_ = FuseServer::Start(
      options, host.get(), [raw = host.get()] { raw->PostEnded(); }, &why);
  if (host->server_ == nullptr) {
    napi_release_threadsafe_function(host->queue_, napi_tsfn_abort);
    host->kept_.Drop(env);
    napi_throw_error(env, nullptr, why.c_str());
    return nullptr;
  }
  napi_add_env_cleanup_hook(env, OnCleanup, host.get());
  host->self_ = host;
  napi_value ended = nullptr;
  napi_create_promise(env, &host->ended_, &ended);
  Set(env, self, "ended", ended);
  return host;
}

napi_value NewFuseServer(napi_env env, napi_callback_info info) {
  const Call call(env, info);
  std::shared_ptr<ServerHost> host = ServerHost::Start(env, {env, call.arguments[0]}, call.self);
  if (host != nullptr) Wrap(env, call.self, std::move(host));
  return nullptr;
}

uint32_t ToDevice(napi_env env, napi_value value) {
  return static_cast<uint32_t>(ToUnsigned(env, value, "device", UINT32_MAX));
}

int ToErrno(napi_env env, napi_value value) {
  return static_cast<int>(ToUnsigned(env, value, "errno", kMaxErrno));
}

napi_value ServerComplete(napi_env env, napi_callback_info info) {
  const Call call(env, info);
  const auto* host = Unwrap<ServerHost>(env, call.self);
  const uint32_t device = ToDevice(env, call.arguments[0]);
  const uint64_t piece = ToUnsigned(env, call.arguments[1], "piece");
  const uint64_t count = ToUnsigned(env, call.arguments[2], "count");
  const int error = ToErrno(env, call.arguments[3]);
  if (IsThrown(env) || host->server() == nullptr) return nullptr;
  host->server()->Complete(device, piece, count, error);
  return nullptr;
}

napi_value ServerCompleteWithBytes(napi_env env, napi_callback_info info) {
  const Call call(env, info);
  const auto* host = Unwrap<ServerHost>(env, call.self);
  const uint32_t device = ToDevice(env, call.arguments[0]);
  const uint64_t piece = ToUnsigned(env, call.arguments[1], "piece");
  const Memory bytes = ToMemory(env, call.arguments[2], "bytes");
  if (IsThrown(env) || host->server() == nullptr) return nullptr;
  host->server()->CompleteWithBytes(device, piece, {bytes.data, bytes.data + bytes.length});
  return nullptr;
}

napi_value ServerCompletePart(napi_env env, napi_callback_info info) {
  const Call call(env, info);
  const auto* host = Unwrap<ServerHost>(env, call.self);
  const uint32_t device = ToDevice(env, call.arguments[0]);
  const uint64_t offset = ToUnsigned(env, call.arguments[1], "offset");
  const Memory bytes = ToMemory(env, call.arguments[2], "bytes");
  if (IsThrown(env) || host->server() == nullptr) return nullptr;
  host->server()->CompletePart(device, offset, {bytes.data, bytes.data + bytes.length});
  return nullptr;
}

napi_value ServerFailPart(napi_env env, napi_callback_info info) {
  const Call call(env, info);
  const auto* host = Unwrap<ServerHost>(env, call.self);
  const uint32_t device = ToDevice(env, call.arguments[0]);
  const uint64_t offset = ToUnsigned(env, call.arguments[1], "offset");
  const uint64_t length = ToUnsigned(env, call.arguments[2], "length");
  const int error = ToErrno(env, call.arguments[3]);
  if (IsThrown(env) || host->server() == nullptr) return nullptr;
  host->server()->FailPart(device, offset, length, error);
  return nullptr;
}

napi_value ServerFail(napi_env env, napi_callback_info info) {
  const Call call(env, info);
  const auto* host = Unwrap<ServerHost>(env, call.self);
  const uint32_t device = ToDevice(env, call.arguments[0]);
  const int error = ToErrno(env, call.arguments[1]);
  if (IsThrown(env) || host->server() == nullptr) return nullptr;
  host->server()->Fail(device, error);
  return nullptr;
}

napi_value ServerStop(napi_env env, napi_callback_info info) {
  const auto* host = Unwrap<ServerHost>(env, Call(env, info).self);
  if (host != nullptr && host->server() != nullptr) host->server()->Stop();
  return nullptr;
}

napi_value ServerStats(napi_env env, napi_callback_info info) {
  const auto* host = Unwrap<ServerHost>(env, Call(env, info).self);
  if (host == nullptr) return nullptr;
  const FuseServerStats stats = host->stats();
  napi_value object = nullptr;
  napi_create_object(env, &object);
  Set(env, object, "requests", Number(env, static_cast<double>(stats.requests)));
  Set(env, object, "reads", Number(env, static_cast<double>(stats.reads)));
  Set(env, object, "bytesRead", Number(env, static_cast<double>(stats.bytes_read)));
  Set(env, object, "misses", Number(env, static_cast<double>(stats.misses)));
  return object;
}
}  // namespace

void ExportFuseServer(napi_env env, napi_value exports) {
  ExportClass(env, exports, "FuseServer", NewFuseServer,
              {Method("complete", ServerComplete),
               Method("completeWithBytes", ServerCompleteWithBytes),
               Method("completePart", ServerCompletePart), Method("failPart", ServerFailPart),
               Method("fail", ServerFail), Method("stats", ServerStats),
               Method("stop", ServerStop)});
}

}  // namespace ocimount
