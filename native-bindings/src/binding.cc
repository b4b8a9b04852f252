// The Node-API module: a thin wrapper per export of index.d.ts.

#include <node_api.h>

NAPI_MODULE_INIT() {
  (void)env;
  return exports;
}
