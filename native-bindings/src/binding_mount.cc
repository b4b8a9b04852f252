// The exports around a mount: thin wrappers over kernel_mount.h, bind_mount.h, plain_mount.h and
// fusermount.h.

#include <malloc.h>

#include <cerrno>
#include <functional>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "bind_mount.h"
#include "binding_async.h"
#include "binding_exports.h"
#include "binding_values.h"
#include "fusermount.h"
#include "kernel_mount.h"
#include "plain_mount.h"

namespace ocimount {
namespace {

napi_value RunSystemTask(napi_env env, std::function<SystemFailure()> run) {
  auto task = std::make_unique<Task>();
  auto failure = std::make_shared<SystemFailure>();
  task->run = [failure, run = std::move(run)] { *failure = run(); };
  task->settle = [failure](napi_env env, bool* rejects) {
    *rejects = failure->failed();
    return *rejects ? SystemError(env, *failure) : Undefined(env);
  };
  return RunTask(env, std::move(task));
}

// Mounting.

MountFlags ToMountFlags(const Fields& fields) {
  const Fields flags = fields.Object("flags");
  return {.suid = flags.Flag("suid"), .dev = flags.Flag("dev"), .noexec = flags.Flag("noexec")};
}

napi_value OpenFuseDeviceWrapper(napi_env env, napi_callback_info) {
  const int fd = OpenFuseDevice();
  if (fd >= 0) return Number(env, fd);
  napi_throw(env, SystemError(env, Failure(-fd, "open", "open /dev/fuse")));
  return nullptr;
}

FuseMountOptions ToFuseMountOptions(const Fields& fields) {
  return {.fuse_fd = -1,
          .mountpoint = fields.Text("mountpoint"),
          .fs_name = fields.Text("fsName"),
          .allow_other = fields.Flag("allowOther"),
          .flags = ToMountFlags(fields)};
}

napi_value MountFuseWrapper(napi_env env, napi_callback_info info) {
  const Fields fields(env, Call(env, info).arguments[0]);
  FuseMountOptions options = ToFuseMountOptions(fields);
  options.fuse_fd = fields.Fd("fuseFd");
  if (IsThrown(env)) return nullptr;
  return RunSystemTask(env, [options] { return MountFuse(options); });
}

napi_value FusermountWrapper(napi_env env, napi_callback_info info) {
  const Fields fields(env, Call(env, info).arguments[0]);
  const FuseMountOptions options = ToFuseMountOptions(fields);
  if (IsThrown(env)) return nullptr;
  auto task = std::make_unique<Task>();
  auto result = std::make_shared<FusermountResult>();
  task->run = [options, result] {
    std::vector<std::string> arguments = FusermountArguments(options);
    arguments.insert(arguments.begin(), "fusermount3");
    *result = RunFusermount(arguments, {});
  };
  task->settle = [result](napi_env env, bool* rejects) {
    if (result->fd >= 0) return Number(env, result->fd);
    *rejects = true;
    napi_value error = nullptr;
    const std::string code = result->error_number == 0 ? "EPERM" : ErrorCode(result->error_number);
    napi_create_error(env, Text(env, code), Text(env, result->error), &error);
    return error;
  };
  return RunTask(env, std::move(task));
}

ErofsPlace ToErofsPlace(const Fields& fields) {
  return {.mountpoint = fields.Text("mountpoint"),
          .source_link = fields.Text("sourceLink"),
          .flags = ToMountFlags(fields)};
}

napi_value MountErofsWrapper(napi_env env, napi_callback_info info) {
  const Fields fields(env, Call(env, info).arguments[0]);
  const ErofsMountOptions options = {
      .fuse_fd = fields.Fd("fuseFd"),
      .device_count = static_cast<uint32_t>(fields.Unsigned("deviceCount", UINT16_MAX)),
      .read_ahead_kib = static_cast<uint32_t>(fields.Unsigned("readAheadKib", INT32_MAX)),
      .place = ToErofsPlace(fields)};
  if (IsThrown(env)) return nullptr;
  return RunSystemTask(env, [options] { return MountErofs(options); });
}

napi_value MountErofsFromFilesWrapper(napi_env env, napi_callback_info info) {
  const Fields fields(env, Call(env, info).arguments[0]);
  const int image_fd = fields.Fd("imageFd");
  const std::vector<int> device_fds = fields.Fds("deviceFds");
  const ErofsPlace place = ToErofsPlace(fields);
  if (IsThrown(env)) return nullptr;
  return RunSystemTask(env, [image_fd, device_fds, place] {
    return MountErofsFromFiles(image_fd, device_fds, place);
  });
}

napi_value BindMountWrapper(napi_env env, napi_callback_info info) {
  const Fields fields(env, Call(env, info).arguments[0]);
  const BindMountOptions options = {.source = fields.Text("source"),
                                    .mountpoint = fields.Text("mountpoint"),
                                    .id_maps = {.uids = fields.Text("uidMap"),
                                                .gids = fields.Text("gidMap")},
                                    .flags = ToMountFlags(fields)};
  if (IsThrown(env)) return nullptr;
  return RunSystemTask(env, [options] { return BindMount(options); });
}

napi_value PlainMountWrapper(napi_env env, napi_callback_info info) {
  const Fields fields(env, Call(env, info).arguments[0]);
  const PlainMountOptions options = {.type = fields.Text("type"),
                                     .source = fields.Text("source"),
                                     .mountpoint = fields.Text("mountpoint"),
                                     .data = fields.Text("data"),
                                     .flags = ToMountFlags(fields)};
  if (IsThrown(env)) return nullptr;
  return RunSystemTask(env, [options] { return PlainMount(options); });
}

napi_value PunchHoleWrapper(napi_env env, napi_callback_info info) {
  const Call call(env, info);
  const int fd = ToFd(env, call.arguments[0], "fd");
  const uint64_t offset = ToUnsigned(env, call.arguments[1], "offset");
  const uint64_t length = ToUnsigned(env, call.arguments[2], "length");
  if (IsThrown(env)) return nullptr;
  const int error = PunchHole(fd, offset, length);
  if (error == 0) return Undefined(env);
  napi_throw(env, SystemError(env, Failure(error, "fallocate")));
  return nullptr;
}

napi_value LockFileWrapper(napi_env env, napi_callback_info info) {
  const Call call(env, info);
  const int fd = ToFd(env, call.arguments[0], "fd");
  const std::string name = ToText(env, call.arguments[1], "kind");
  const bool is_known = name == "read" || name == "write" || name == "none";
  if (!is_known) ThrowType(env, "kind", "read, write or none");
  const uint64_t offset = ToUnsigned(env, call.arguments[2], "offset");
  const uint64_t length = ToUnsigned(env, call.arguments[3], "length");
  if (IsThrown(env)) return nullptr;
  const LockKind kind = name == "read"    ? LockKind::kRead
                        : name == "write" ? LockKind::kWrite
                                          : LockKind::kNone;
  const int error = LockFile(fd, kind, offset, length);
  if (error != 0 && error != EAGAIN) {
    napi_throw(env, SystemError(env, Failure(error, "fcntl")));
    return nullptr;
  }
  napi_value taken = nullptr;
  napi_get_boolean(env, error == 0, &taken);
  return taken;
}

napi_value TrimMemoryWrapper(napi_env env, napi_callback_info) {
#ifdef __GLIBC__
  // Other allocators, such as musl's, return what is freed by themselves.
  malloc_trim(0);
#endif
  return Undefined(env);
}

}  // namespace

void ExportMount(napi_env env, napi_value exports) {
  ExportFunction(env, exports, "openFuseDevice", OpenFuseDeviceWrapper);
  ExportFunction(env, exports, "mountFuse", MountFuseWrapper);
  ExportFunction(env, exports, "fusermount", FusermountWrapper);
  ExportFunction(env, exports, "mountErofs", MountErofsWrapper);
  ExportFunction(env, exports, "mountErofsFromFiles", MountErofsFromFilesWrapper);
  ExportFunction(env, exports, "bindMount", BindMountWrapper);
  ExportFunction(env, exports, "plainMount", PlainMountWrapper);
  ExportFunction(env, exports, "punchHole", PunchHoleWrapper);
  ExportFunction(env, exports, "lockFile", LockFileWrapper);
  ExportFunction(env, exports, "trimMemory", TrimMemoryWrapper);
}

}  // namespace ocimount
