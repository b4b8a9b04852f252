// How native threads and JavaScript meet.
//
// A task runs once on libuv's pool and settles a promise. What runs in threads of its own (a server, a job) is owned by
// itself until its last event was handled on the JavaScript thread; the JavaScript object only refers to it, and may be
// collected before. Its threads post to a threadsafe function whose queue has no bound, so that posting never
// blocks. When the environment goes away first, a clean-up hook stops and joins the threads; events still queued
// then come with env == nullptr and are dropped. process.exit() runs no clean-up hooks, but ends OpenSSL while threads may be
// hashing: for that there are exit hooks, run by the `exit` event.

#ifndef OCIMOUNT_BINDING_ASYNC_H_
#define OCIMOUNT_BINDING_ASYNC_H_

#include <node_api.h>

#include <functional>
#include <memory>
#include <vector>

#include "binding_values.h"

namespace ocimount {

struct Task {
  napi_async_work work = nullptr;
  napi_deferred deferred = nullptr;
  Kept kept;
  std::function<void()> run;
  /** Gives the value to resolve with, or to reject with where it sets the flag. */
  std::function<napi_value(napi_env, bool*)> settle;
  bool is_out_of_memory = false;
};

/** Gives a promise of what `settle` makes of what `run` did. */
napi_value RunTask(napi_env env, std::unique_ptr<Task> task);

/** Gives the queue of one owner, which is released by it once; `on_event` runs on the JavaScript thread. */
napi_threadsafe_function NewQueue(napi_env env, void* context,
                                  napi_threadsafe_function_call_js on_event);

/** Calls a function of JavaScript; what it throws becomes an uncaught exception. Tells whether it returned. */
bool CallBack(napi_env env, napi_value function, const std::vector<napi_value>& arguments);

/** The same for what libuv calls by itself, with all that JavaScript does after a callback. */
bool CallBackFromLoop(napi_env env, napi_value function);

/** Makes what AddExitHook needs; once per environment. */
void InitializeExitHooks(napi_env env);
/** `hook` runs on the JavaScript thread when the process or worker exits, unless it was removed before. */
void AddExitHook(napi_env env, void (*hook)(void*), void* data);
void RemoveExitHook(napi_env env, void* data);

}  // namespace ocimount

#endif  // OCIMOUNT_BINDING_ASYNC_H_
