// The function readLazyTable over lazy_table.h.

#include <algorithm>
#include <memory>
#include <utility>

#include "binding_async.h"
#include "binding_exports.h"
#include "binding_values.h"
#include "lazy_table.h"

namespace ocimount {
namespace {

LazyLayout LayoutOf(const Fields& fields) {
  LazyLayout layout = {.alignment = fields.Unsigned("alignment"),
                       .large = fields.Unsigned("large"),
                       .piece_size = fields.Unsigned("pieceSize"),
                       .max_device = fields.Unsigned("maxDevice"),
                       .max_entries = fields.Unsigned("maxEntries"),
                       .max_chunks = fields.Unsigned("maxChunks"),
                       // Lengths have 32 bits in a record.
                       .max_chunk = fields.Unsigned("maxChunk", 1 << 30),
                       .max_chunk_stored = fields.Unsigned("maxChunkStored", 1 << 30),
                       .max_piece_cost = fields.Unsigned("maxPieceCost"),
                       .chunk_cost = fields.Unsigned("chunkCost")};
  // Divided by.
  layout.alignment = std::max(layout.alignment, uint64_t{1});
  layout.piece_size = std::max(layout.piece_size, uint64_t{1});
  return layout;
}

std::optional<LazyUnlisted> UnlistedOf(napi_env env, const Fields& fields) {
  napi_valuetype type = napi_undefined;
  napi_typeof(env, fields.Value("unlisted"), &type);
  if (type == napi_undefined) return std::nullopt;
  const Fields file = fields.Object("unlisted");
  LazyUnlisted unlisted = {.offset = file.Unsigned("compressedOffset"),
                           .inner_offset = file.Unsigned("innerOffset"),
                           .size = file.Unsigned("size"),
                           .sha256 = file.Text("sha256")};
  const bool is_digest = unlisted.sha256.size() == 64 &&
                         unlisted.sha256.find_first_not_of("0123456789abcdef") == std::string::npos;
  if (!is_digest) ThrowType(env, "sha256", "64 hex digits");
  return unlisted;
}

template <class T>
void SetBytes(napi_env env, napi_value object, const char* name, const T& container) {
  Set(env, object, name, Bytes(env, container.data(), container.size() * sizeof(*container.data())));
}

napi_value ReadLazyTableWrapper(napi_env env, napi_callback_info info) {
  const Fields fields(env, Call(env, info).arguments[0]);
  const Memory json = fields.Bytes("json");
  const LazyTableRequest request = {
      .json = {reinterpret_cast<const char*>(json.data), json.length},
      .layout = LayoutOf(fields.Object("layout")),
      .ends_early = fields.Flag("endsEarly"),
      .blob_size = fields.Unsigned("blobSize"),
      .content_end = fields.Unsigned("contentEnd"),
      .unlisted = UnlistedOf(env, fields)};
  if (IsThrown(env)) return nullptr;
  auto task = std::make_unique<Task>();
  task->kept.Add(env, json.value);
  auto table = std::make_shared<std::optional<LazyTable>>();
  task->run = [request, table] { *table = ReadLazyTable(request); };
  task->settle = [table](napi_env env, bool*) {
    if (!*table) return Undefined(env);
    napi_value result = nullptr;
    napi_create_object(env, &result);
    Set(env, result, "arrayAt", Number(env, static_cast<double>((*table)->array_at)));
    Set(env, result, "arrayEnd", Number(env, static_cast<double>((*table)->array_end)));
    Set(env, result, "deviceSize", Number(env, static_cast<double>((*table)->device_size)));
    SetBytes(env, result, "numbers", (*table)->numbers);
    SetBytes(env, result, "names", (*table)->names);
    SetBytes(env, result, "segments", (*table)->segments);
    SetBytes(env, result, "records", (*table)->records);
    return result;
  };
  return RunTask(env, std::move(task));
}

}  // namespace

void ExportLazyTable(napi_env env, napi_value exports) {
  ExportFunction(env, exports, "readLazyTable", ReadLazyTableWrapper);
}

}  // namespace ocimount
