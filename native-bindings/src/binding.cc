// The Node-API module; what it offers is declared in index.d.ts.

#include <node_api.h>

#include "binding_async.h"
#include "binding_exports.h"
#include "binding_values.h"

namespace ocimount {

void ExportFunction(napi_env env, napi_value exports, const char* name, napi_callback function) {
  napi_value value = nullptr;
  napi_create_function(env, name, NAPI_AUTO_LENGTH, function, nullptr, &value);
  Set(env, exports, name, value);
}

void ExportClass(napi_env env, napi_value exports, const char* name, napi_callback constructor,
                 const std::vector<napi_property_descriptor>& properties) {
  napi_value value = nullptr;
  napi_define_class(env, name, NAPI_AUTO_LENGTH, constructor, nullptr, properties.size(),
                    properties.data(), &value);
  Set(env, exports, name, value);
}

napi_property_descriptor Method(const char* name, napi_callback method) {
  return {name, nullptr, method, nullptr, nullptr, nullptr, napi_default_method, nullptr};
}

napi_property_descriptor Getter(const char* name, napi_callback getter) {
  return {name, nullptr, nullptr, getter, nullptr, nullptr, napi_enumerable, nullptr};
}

}  // namespace ocimount

NAPI_MODULE_INIT() {
  ocimount::InitializeExitHooks(env);
  ocimount::ExportMount(env, exports);
  ocimount::ExportProcess(env, exports);
  ocimount::ExportFuseServer(env, exports);
  ocimount::ExportGzipFill(env, exports);
  ocimount::ExportGzipIndex(env, exports);
  ocimount::ExportLazyTable(env, exports);
  ocimount::ExportTar(env, exports);
  ocimount::ExportWatch(env, exports);
  return exports;
}
