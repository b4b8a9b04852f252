// The parts of the module, each defined in a binding_*.cc of its own.

#ifndef OCIMOUNT_BINDING_EXPORTS_H_
#define OCIMOUNT_BINDING_EXPORTS_H_

#include <node_api.h>

#include <vector>

namespace ocimount {

void ExportFunction(napi_env env, napi_value exports, const char* name, napi_callback function);
void ExportClass(napi_env env, napi_value exports, const char* name, napi_callback constructor,
                 const std::vector<napi_property_descriptor>& properties);
napi_property_descriptor Method(const char* name, napi_callback method);
napi_property_descriptor Getter(const char* name, napi_callback getter);

void ExportMount(napi_env env, napi_value exports);
void ExportProcess(napi_env env, napi_value exports);
void ExportFuseServer(napi_env env, napi_value exports);
void ExportGzipFill(napi_env env, napi_value exports);
void ExportGzipIndex(napi_env env, napi_value exports);
void ExportLazyTable(napi_env env, napi_value exports);
void ExportTar(napi_env env, napi_value exports);
void ExportWatch(napi_env env, napi_value exports);

}  // namespace ocimount

#endif  // OCIMOUNT_BINDING_EXPORTS_H_
