// The class GzipIndexJob over gzip_index.h.
//
// A chunk of output is copied into the one Buffer that JavaScript gets it in; the deliverer of the indexer then waits until
// the callback has returned, while the other threads of the pass go on until their queues are full.

#include <algorithm>
#include <cerrno>
#include <condition_variable>
#include <cstring>
#include <exception>
#include <iterator>
#include <memory>
#include <mutex>
#include <string>
#include <system_error>
#include <thread>
#include <utility>
#include <vector>

#include "binding_async.h"
#include "binding_exports.h"
#include "binding_values.h"
#include "gzip_index.h"
#include "kernel_mount.h"
#include "span_record.h"

namespace ocimount {
namespace {

constexpr size_t kChunkSize = kPieceSize;

class JobHost final : public OutputSink {
 public:
  /** Gives nothing, with an exception pending, where the job cannot be. */
  static std::shared_ptr<JobHost> Start(napi_env env, const Call& call);

  bool OnOutput(const uint8_t* bytes, size_t size, uint64_t device_offset) override;

  double progress() const { return static_cast<double>(indexer_.progress()); }
  void Advance(uint64_t available) { indexer_.Advance(available); }
  void SkipOutput() { Skip(false); }
  void Abort() { Skip(true); }

  explicit JobHost(const GzipIndexRequest& request) : indexer_(request, this) {}

 private:
  void Run();
  void Skip(bool aborts);
  static void OnEvent(napi_env env, napi_value, void* context, void* data);
  void Deliver(napi_env env);
  void Finish(napi_env env);
  static void OnExit(void* data);
  static void OnCleanup(void* data);

  napi_env env_ = nullptr;
  GzipIndexer indexer_;
  napi_threadsafe_function queue_ = nullptr;
  napi_deferred done_ = nullptr;
  Kept kept_;
  size_t on_output_ = 0;
  size_t buffer_ = 0;
  uint8_t* buffer_bytes_ = nullptr;
  std::thread thread_;
  GzipIndexOutcome outcome_;

  std::mutex mutex_;
  std::condition_variable taken_;
  // The rest is guarded by mutex_.
  size_t chunk_size_ = 0;
  uint64_t chunk_offset_ = 0;
  /** JavaScript has not taken the chunk yet. */
  bool is_pending_ = false;
  bool wants_no_more_ = false;

  /** Itself until the end. */
  std::shared_ptr<JobHost> self_;
};

/** What the queue carries beside null, which means that the pass is done. */
void* ChunkEvent(JobHost* host) { return host; }

bool JobHost::OnOutput(const uint8_t* bytes, size_t size, uint64_t device_offset) {
  while (size > 0) {
    const size_t length = std::min(size, kChunkSize);
    std::unique_lock lock(mutex_);
    if (wants_no_more_) return false;
    memcpy(buffer_bytes_, bytes, length);
    chunk_size_ = length;
    chunk_offset_ = device_offset;
    is_pending_ = true;
    if (napi_call_threadsafe_function(queue_, ChunkEvent(this), napi_tsfn_nonblocking) != napi_ok) {
      return false;
    }
    taken_.wait(lock, [this] { return !is_pending_ || wants_no_more_; });
    bytes += length;
    device_offset += length;
    size -= length;
  }
  return true;
}

void JobHost::Run() {
  try {
    outcome_ = indexer_.Run();
  } catch (const std::exception& error) {
    outcome_ = {};
    outcome_.status = GzipIndexStatus::kIoError;
    outcome_.message = error.what();
    outcome_.error_number = ENOMEM;
  }
  // Once the event is queued this object waits for this thread, and no longer.
  napi_threadsafe_function queue = queue_;
  napi_call_threadsafe_function(queue, nullptr, napi_tsfn_nonblocking);
  napi_release_threadsafe_function(queue, napi_tsfn_release);
}

void JobHost::Skip(bool aborts) {
  if (aborts) indexer_.Abort();
  indexer_.SkipOutput();
  const std::lock_guard lock(mutex_);
  wants_no_more_ = true;
  taken_.notify_all();
}

void JobHost::OnEvent(napi_env env, napi_value, void* context, void* data) {
  if (env == nullptr) return;
  auto* host = static_cast<JobHost*>(context);
  if (data == nullptr) {
    host->Finish(env);
  } else {
    host->Deliver(env);
  }
}

void JobHost::Deliver(napi_env env) {
  size_t size = 0;
  uint64_t offset = 0;
  {
    const std::lock_guard lock(mutex_);
    if (wants_no_more_) return;
    size = chunk_size_;
    offset = chunk_offset_;
  }
  const napi_value buffer = kept_.Get(env, buffer_);
  napi_value subarray = nullptr;
  napi_value chunk = nullptr;
  const napi_value range[] = {Number(env, 0), Number(env, static_cast<double>(size))};
  napi_get_named_property(env, buffer, "subarray", &subarray);
  napi_call_function(env, buffer, subarray, std::size(range), range, &chunk);
  const napi_value arguments[] = {chunk, Number(env, static_cast<double>(offset))};
  napi_call_function(env, Undefined(env), kept_.Get(env, on_output_), std::size(arguments),
                     arguments, nullptr);
  if (IsThrown(env)) {
    // The callback's way to say that it wants no more; it keeps the reason to itself.
    napi_value error = nullptr;
    napi_get_and_clear_last_exception(env, &error);
    Skip(false);
    return;
  }
  const std::lock_guard lock(mutex_);
  is_pending_ = false;
  taken_.notify_all();
}

napi_value Digest(napi_env env, const std::vector<uint8_t>& digest) {
  return digest.empty() ? Undefined(env) : Bytes(env, digest.data(), digest.size());
}

const char* StatusName(GzipIndexStatus status) {
  switch (status) {
    case GzipIndexStatus::kDone:
      return "done";
    case GzipIndexStatus::kCorrupt:
      return "corrupt";
    case GzipIndexStatus::kTruncated:
      return "truncated";
    case GzipIndexStatus::kTooLarge:
      return "too-large";
    case GzipIndexStatus::kAborted:
      return "aborted";
    case GzipIndexStatus::kIoError:
      return "io-error";
  }
  return "";
}

napi_value IndexResult(napi_env env, const GzipIndexOutcome& outcome) {
  napi_value result = nullptr;
  napi_create_object(env, &result);
  Set(env, result, "status", Text(env, StatusName(outcome.status)));
  Set(env, result, "message", Text(env, outcome.message));
  Set(env, result, "errno", Number(env, outcome.error_number));
  Set(env, result, "blobDigest", Digest(env, outcome.blob_digest));
  Set(env, result, "deviceDigest", Digest(env, outcome.device_digest));
  Set(env, result, "deviceSize", Number(env, static_cast<double>(outcome.device_size)));
  Set(env, result, "spans", Bytes(env, outcome.spans.data(), outcome.spans.size()));
  Set(env, result, "windows", Bytes(env, outcome.windows.data(), outcome.windows.size()));
  Set(env, result, "pieceDigests",
      Bytes(env, outcome.piece_digests.data(), outcome.piece_digests.size()));
  return result;
}

void JobHost::Finish(napi_env env) {
  napi_remove_env_cleanup_hook(env, OnCleanup, this);
  RemoveExitHook(env, this);
  if (thread_.joinable()) thread_.join();
  napi_resolve_deferred(env, done_, IndexResult(env, outcome_));
  kept_.Drop(env);
  // The last thing: it may be the last owner.
  const std::shared_ptr<JobHost> last = std::move(self_);
}

void JobHost::OnExit(void* data) {
  auto* host = static_cast<JobHost*>(data);
  host->Abort();
  if (host->thread_.joinable()) host->thread_.join();
}

void JobHost::OnCleanup(void* data) {
  OnExit(data);
  auto* host = static_cast<JobHost*>(data);
  RemoveExitHook(host->env_, host);
  const std::shared_ptr<JobHost> last = std::move(host->self_);
}

HashKind ToHashKind(napi_env env, const Fields& fields, const char* name) {
  const std::string hash = fields.Text(name);
  if (hash != "sha256" && hash != "sha512") ThrowType(env, name, "sha256 or sha512");
  return hash == "sha512" ? HashKind::kSha512 : HashKind::kSha256;
}

std::shared_ptr<JobHost> JobHost::Start(napi_env env, const Call& call) {
  const Fields fields(env, call.arguments[0]);
  const Fields blob = fields.Object("blob");
  const GzipIndexRequest request = {.fd = blob.Fd("fd"),
                                    .offset = blob.Unsigned("offset"),
                                    .length = blob.Unsigned("length"),
                                    .available = fields.OptionalUnsigned("available"),
                                    .blob_hash = ToHashKind(env, fields, "blobHash"),
                                    .device_hash = ToHashKind(env, fields, "deviceHash"),
                                    .span_size = fields.Unsigned("spanSize"),
                                    .max_output = fields.Unsigned("maxOutput")};
  if (request.span_size < kWindowSize) ThrowType(env, "spanSize", "at least 32768");
  RequireFunction(env, call.arguments[1], "onOutput");
  if (IsThrown(env)) return nullptr;

  auto host = std::make_shared<JobHost>(request);
  napi_value buffer = nullptr;
  void* bytes = nullptr;
  napi_create_buffer(env, kChunkSize, &bytes, &buffer);
  if (buffer == nullptr) return nullptr;
  host->buffer_bytes_ = static_cast<uint8_t*>(bytes);
  host->buffer_ = host->kept_.Add(env, buffer);
  host->on_output_ = host->kept_.Add(env, call.arguments[1]);
  host->queue_ = NewQueue(env, host.get(), OnEvent);
  try {
    host->thread_ = std::thread(&JobHost::Run, host.get());
  } catch (const std::system_error& error) {
    napi_release_threadsafe_function(host->queue_, napi_tsfn_abort);
    host->kept_.Drop(env);
    napi_throw(env, SystemError(env, Failure(error.code().value(), "pthread_create")));
    return nullptr;
  }
  host->env_ = env;
  napi_add_env_cleanup_hook(env, OnCleanup, host.get());
  AddExitHook(env, OnExit, host.get());
  host->self_ = host;
  napi_value done = nullptr;
  napi_create_promise(env, &host->done_, &done);
  Set(env, call.self, "done", done);
  return host;
}

napi_value NewGzipIndexJob(napi_env env, napi_callback_info info) {
  const Call call(env, info);
  std::shared_ptr<JobHost> host = JobHost::Start(env, call);
  if (host != nullptr) Wrap(env, call.self, std::move(host));
  return nullptr;
}

napi_value JobProgress(napi_env env, napi_callback_info info) {
  const auto* host = Unwrap<JobHost>(env, Call(env, info).self);
  return host == nullptr ? nullptr : Number(env, host->progress());
}

napi_value JobAdvance(napi_env env, napi_callback_info info) {
  const Call call(env, info);
  auto* host = Unwrap<JobHost>(env, call.self);
  const uint64_t available = ToUnsigned(env, call.arguments[0], "available");
  if (host != nullptr && !IsThrown(env)) host->Advance(available);
  return nullptr;
}

template <void (JobHost::*method)()>
napi_value JobCall(napi_env env, napi_callback_info info) {
  auto* host = Unwrap<JobHost>(env, Call(env, info).self);
  if (host != nullptr) (host->*method)();
  return nullptr;
}

}  // namespace

void ExportGzipIndex(napi_env env, napi_value exports) {
  ExportClass(env, exports, "GzipIndexJob", NewGzipIndexJob,
              {Getter("progress", JobProgress), Method("advance", JobAdvance),
               Method("skipOutput", JobCall<&JobHost::SkipOutput>),
               Method("abort", JobCall<&JobHost::Abort>)});
}

}  // namespace ocimount
