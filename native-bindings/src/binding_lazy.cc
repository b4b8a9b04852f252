// The function listLazyEntries over lazy_listing.h.

#include "binding_exports.h"
#include "binding_values.h"
#include "lazy_listing.h"

namespace ocimount {
namespace {

const char* NameOf(ListingEnd end) {
  switch (end) {
    case ListingEnd::kMore:
      return "more";
    case ListingEnd::kArrayEnd:
      return "array-end";
    default:
      return "strange";
  }
}

napi_value ListLazyEntriesWrapper(napi_env env, napi_callback_info info) {
  const Fields fields(env, Call(env, info).arguments[0]);
  const Memory json = fields.Bytes("json");
  const LazyListingRequest request = {
      .json = {reinterpret_cast<const char*>(json.data), json.length},
      .start = fields.Unsigned("start"),
      .max_entries = fields.Unsigned("maxEntries", 1 << 16)};
  if (IsThrown(env)) return nullptr;
  const auto [end, next, array_at, numbers] = ListLazyEntries(request);
  napi_value result = nullptr;
  napi_create_object(env, &result);
  Set(env, result, "end", Text(env, NameOf(end)));
  Set(env, result, "next", Number(env, static_cast<double>(next)));
  Set(env, result, "arrayAt", Number(env, static_cast<double>(array_at)));
  Set(env, result, "numbers", Bytes(env, numbers.data(), numbers.size() * sizeof(double)));
  return result;
}

}  // namespace

void ExportLazyListing(napi_env env, napi_value exports) {
  ExportFunction(env, exports, "listLazyEntries", ListLazyEntriesWrapper);
}

}  // namespace ocimount
