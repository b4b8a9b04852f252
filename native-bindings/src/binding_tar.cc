// The function listTar over tar_listing.h.

#include <memory>
#include <utility>

#include "binding_async.h"
#include "binding_exports.h"
#include "binding_values.h"
#include "tar_listing.h"

namespace ocimount {
namespace {

napi_value ListTarWrapper(napi_env env, napi_callback_info info) {
  const Fields fields(env, Call(env, info).arguments[0]);
  const Fields archive = fields.Object("archive");
  const TarRequest request = {.fd = archive.Fd("fd"),
                              .file_offset = archive.Unsigned("offset"),
                              .size = archive.Unsigned("length"),
                              .start = fields.Unsigned("start"),
                              .max_members = fields.Unsigned("maxMembers", 1 << 20)};
  if (IsThrown(env)) return nullptr;
  auto task = std::make_unique<Task>();
  auto listing = std::make_shared<TarListing>();
  task->run = [request, listing] { *listing = ListTar(request); };
  task->settle = [listing](napi_env env, bool*) {
    napi_value result = nullptr;
    napi_create_object(env, &result);
    const auto& [numbers, names] = *listing;
    Set(env, result, "numbers", Bytes(env, numbers.data(), numbers.size() * sizeof(double)));
    Set(env, result, "names", Bytes(env, names.data(), names.size()));
    return result;
  };
  return RunTask(env, std::move(task));
}

}  // namespace

void ExportTar(napi_env env, napi_value exports) {
  ExportFunction(env, exports, "listTar", ListTarWrapper);
}

}  // namespace ocimount
