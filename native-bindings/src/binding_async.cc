#include "binding_async.h"

#include <cerrno>
#include <exception>
#include <iterator>
#include <map>
#include <utility>

#include "kernel_mount.h"

namespace ocimount {
namespace {

void ExecuteTask(napi_env, void* data) {
  Task* task = static_cast<Task*>(data);
  try {
    task->run();
  } catch (const std::exception&) {
    task->is_out_of_memory = true;
  }
}

void CompleteTask(napi_env env, napi_status status, void* data) {
  const std::unique_ptr<Task> task(static_cast<Task*>(data));
  if (status == napi_ok) {
    bool rejects = task->is_out_of_memory;
    napi_value value = task->is_out_of_memory
                           ? SystemError(env, Failure(ENOMEM, "malloc"))
                           : task->settle(env, &rejects);
    (rejects ? napi_reject_deferred : napi_resolve_deferred)(env, task->deferred, value);
  }
  task->kept.Drop(env);
  napi_delete_async_work(env, task->work);
}

}  // namespace

napi_value RunTask(napi_env env, std::unique_ptr<Task> task) {
  napi_value promise = nullptr;
  napi_create_promise(env, &task->deferred, &promise);
  napi_create_async_work(env, nullptr, Text(env, "ocimount"), ExecuteTask, CompleteTask, task.get(),
                         &task->work);
  if (napi_queue_async_work(env, task->work) == napi_ok) task.release();
  return promise;
}

napi_threadsafe_function NewQueue(napi_env env, void* context,
                                  napi_threadsafe_function_call_js on_event) {
  napi_threadsafe_function queue = nullptr;
  napi_create_threadsafe_function(env, nullptr, nullptr, Text(env, "ocimount"), 0, 1, nullptr,
                                  nullptr, context, on_event, &queue);
  return queue;
}

namespace {

bool HasReturned(napi_env env, napi_status status) {
  if (status == napi_ok) return true;
  napi_value error = nullptr;
  if (napi_get_and_clear_last_exception(env, &error) == napi_ok) napi_fatal_exception(env, error);
  return false;
}

}  // namespace

bool CallBack(napi_env env, napi_value function, const std::vector<napi_value>& arguments) {
  return HasReturned(env, napi_call_function(env, Undefined(env), function, arguments.size(),
                                             arguments.data(), nullptr));
}

bool CallBackFromLoop(napi_env env, napi_value function) {
  napi_value global = nullptr;
  napi_get_global(env, &global);
  return HasReturned(env, napi_make_callback(env, nullptr, global, function, 0, nullptr, nullptr));
}

namespace {

/** Per environment, by what they are for. */
using ExitHooks = std::map<void*, void (*)(void*)>;

ExitHooks* GetExitHooks(napi_env env) {
  void* hooks = nullptr;
  napi_get_instance_data(env, &hooks);
  return static_cast<ExitHooks*>(hooks);
}

napi_value RunExitHooks(napi_env env, napi_callback_info) {
  for (const auto& [data, hook] : *GetExitHooks(env)) hook(data);
  return nullptr;
}

}  // namespace

void InitializeExitHooks(napi_env env) {
  const auto finalize = [](napi_env, void* hooks, void*) {
    delete static_cast<ExitHooks*>(hooks);
  };
  napi_set_instance_data(env, new ExitHooks, finalize, nullptr);
  napi_value global = nullptr;
  napi_value process = nullptr;
  napi_value on = nullptr;
  napi_value listener = nullptr;
  napi_get_global(env, &global);
  napi_get_named_property(env, global, "process", &process);
  napi_get_named_property(env, process, "on", &on);
  napi_create_function(env, "ocimount", NAPI_AUTO_LENGTH, RunExitHooks, nullptr, &listener);
  const napi_value arguments[] = {Text(env, "exit"), listener};
  napi_call_function(env, process, on, std::size(arguments), arguments, nullptr);
}

void AddExitHook(napi_env env, void (*hook)(void*), void* data) {
  GetExitHooks(env)->emplace(data, hook);
}

void RemoveExitHook(napi_env env, void* data) { GetExitHooks(env)->erase(data); }

}  // namespace ocimount
