// The export that replaces this process by another program.

#include <fcntl.h>
#include <signal.h>
#include <unistd.h>

#include <cerrno>
#include <string>
#include <vector>

#include "binding_exports.h"
#include "binding_values.h"
#include "kernel_mount.h"

namespace ocimount {
namespace {

std::vector<std::string> ToTexts(napi_env env, napi_value array, const char* name) {
  std::vector<std::string> texts;
  uint32_t length = 0;
  if (napi_get_array_length(env, array, &length) != napi_ok) ThrowType(env, name, "an array");
  for (uint32_t i = 0; i < length && !IsThrown(env); ++i) {
    napi_value item = nullptr;
    napi_get_element(env, array, i, &item);
    texts.push_back(ToText(env, item, name));
  }
  return texts;
}

std::vector<char*> Pointers(std::vector<std::string>& texts) {
  std::vector<char*> pointers;
  for (std::string& text : texts) pointers.push_back(text.data());
  pointers.push_back(nullptr);
  return pointers;
}

/** Node.js ignores and blocks signals, and lets standard descriptors neither block nor survive: a program wants none of it. */
void UndoOwnSetUp() {
  struct sigaction by_default {};
  by_default.sa_handler = SIG_DFL;
  for (int number = 1; number < NSIG; ++number) sigaction(number, &by_default, nullptr);
  sigset_t none;
  sigemptyset(&none);
  pthread_sigmask(SIG_SETMASK, &none, nullptr);
  for (int fd = 0; fd <= 2; ++fd) {
    const int flags = fcntl(fd, F_GETFL);
    if (flags < 0) continue;
    if ((flags & O_NONBLOCK) != 0) fcntl(fd, F_SETFL, flags & ~O_NONBLOCK);
    fcntl(fd, F_SETFD, 0);
  }
}

napi_value ExecveWrapper(napi_env env, napi_callback_info info) {
  const Call call(env, info);
  const std::string path = ToText(env, call.arguments[0], "path");
  std::vector<std::string> arguments = ToTexts(env, call.arguments[1], "arguments");
  std::vector<std::string> environment = ToTexts(env, call.arguments[2], "environment");
  if (IsThrown(env)) return nullptr;
  const std::vector<char*> argv = Pointers(arguments);
  const std::vector<char*> envp = Pointers(environment);
  if (access(path.c_str(), X_OK) == 0) {
    UndoOwnSetUp();
    execve(path.c_str(), argv.data(), envp.data());
  }
  napi_throw(env, SystemError(env, Failure(errno, "execve", "start a program")));
  return nullptr;
}

}  // namespace

void ExportProcess(napi_env env, napi_value exports) {
  ExportFunction(env, exports, "execve", ExecveWrapper);
}

}  // namespace ocimount
