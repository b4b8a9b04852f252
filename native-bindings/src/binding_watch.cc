// The class Watch: what poll(2) announces and Node.js has no name for, on the event loop of the environment.

#include <fcntl.h>
#include <sys/syscall.h>
#include <unistd.h>
#include <uv.h>

#include <cerrno>
#include <memory>

#include "binding_async.h"
#include "binding_exports.h"
#include "binding_values.h"
#include "kernel_mount.h"

namespace ocimount {
namespace {

/** Lives until the loop has let go of the handle, whatever becomes of the JavaScript object. */
class WatchHost : public std::enable_shared_from_this<WatchHost> {
 public:
  /** Takes over `fd`. Gives 0 or an errno. */
  int Start(napi_env env, int fd, int events, napi_value on_event) {
    uv_loop_t* loop = nullptr;
    napi_get_uv_event_loop(env, &loop);
    fd_ = fd;
    if (const int error = uv_poll_init(loop, &poll_, fd)) {
      close(fd);
      return -error;
    }
    env_ = env;
    self_ = shared_from_this();
    poll_.data = this;
    on_event_ = kept_.Add(env, on_event);
    napi_add_async_cleanup_hook(env, OnCleanUp, this, &hook_);
    uv_unref(reinterpret_cast<uv_handle_t*>(&poll_));
    const int error = uv_poll_start(&poll_, events, OnReady);
    if (error != 0) Close();
    return -error;
  }

  void Close() {
    if (self_ == nullptr || is_closing_) return;
    is_closing_ = true;
    uv_close(reinterpret_cast<uv_handle_t*>(&poll_), OnClosed);
  }

 private:
  static void OnReady(uv_poll_t* poll, int, int) {
    auto* host = static_cast<WatchHost*>(poll->data);
    napi_handle_scope scope = nullptr;
    napi_open_handle_scope(host->env_, &scope);
    CallBackFromLoop(host->env_, host->kept_.Get(host->env_, host->on_event_));
    napi_close_handle_scope(host->env_, scope);
  }

  static void OnClosed(uv_handle_t* handle) {
    auto* host = static_cast<WatchHost*>(handle->data);
    close(host->fd_);
    napi_handle_scope scope = nullptr;
    napi_open_handle_scope(host->env_, &scope);
    host->kept_.Drop(host->env_);
    napi_close_handle_scope(host->env_, scope);
    napi_remove_async_cleanup_hook(host->hook_);
    host->self_.reset();
  }

  static void OnCleanUp(napi_async_cleanup_hook_handle, void* host) {
    static_cast<WatchHost*>(host)->Close();
  }

  napi_env env_ = nullptr;
  int fd_ = -1;
  uv_poll_t poll_{};
  Kept kept_;
  size_t on_event_ = 0;
  napi_async_cleanup_hook_handle hook_ = nullptr;
  bool is_closing_ = false;
  std::shared_ptr<WatchHost> self_;
};

napi_value NewWatch(napi_env env, napi_callback_info info) {
  const Call call(env, info);
  const Fields fields(env, call.arguments[0]);
  // The numbers of processes begin with 1.
  const auto pid = static_cast<pid_t>(fields.Unsigned("pid", INT32_MAX));
  const napi_value on_event = fields.Function("onEvent");
  if (IsThrown(env)) return nullptr;
  const int fd = pid == 0 ? open("/proc/self/mountinfo", O_RDONLY | O_CLOEXEC)
                          : static_cast<int>(syscall(SYS_pidfd_open, pid, 0));
  if (fd < 0) {
    napi_throw(env, SystemError(env, Failure(errno, pid == 0 ? "open" : "pidfd_open")));
    return nullptr;
  }
  auto host = std::make_shared<WatchHost>();
  const int error = host->Start(env, fd, pid == 0 ? UV_PRIORITIZED : UV_READABLE, on_event);
  if (error != 0) {
    napi_throw(env, SystemError(env, Failure(error, "epoll_ctl")));
    return nullptr;
  }
  Wrap(env, call.self, std::move(host));
  return call.self;
}

napi_value WatchClose(napi_env env, napi_callback_info info) {
  auto* host = Unwrap<WatchHost>(env, Call(env, info).self);
  if (host != nullptr) host->Close();
  return nullptr;
}

}  // namespace

void ExportWatch(napi_env env, napi_value exports) {
  ExportClass(env, exports, "Watch", NewWatch, {Method("close", WatchClose)});
}

}  // namespace ocimount
