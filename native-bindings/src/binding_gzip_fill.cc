// The function fillPieces over gzip_fill.h.

#include <cstdint>
#include <memory>
#include <utility>

#include "binding_async.h"
#include "binding_exports.h"
#include "binding_values.h"
#include "gzip_fill.h"
#include "span_record.h"

namespace ocimount {
namespace {

const char* StatusName(FillStatus status) {
  switch (status) {
    case FillStatus::kDone:
      return "done";
    case FillStatus::kSourceChanged:
      return "source-changed";
    case FillStatus::kBadSpan:
      return "bad-span";
    case FillStatus::kBadPiece:
      return "bad-piece";
    case FillStatus::kCorrupt:
      return "corrupt";
    case FillStatus::kReadError:
      return "read-error";
    case FillStatus::kWriteError:
      return "write-error";
  }
  return "";
}

napi_value FillResult(napi_env env, const FillOutcome& outcome) {
  napi_value result = nullptr;
  napi_create_object(env, &result);
  const bool has_bytes =
      outcome.status == FillStatus::kDone || outcome.status == FillStatus::kWriteError;
  Set(env, result, "status", Text(env, StatusName(outcome.status)));
  Set(env, result, "message", Text(env, outcome.message));
  Set(env, result, "errno", Number(env, outcome.error_number));
  Set(env, result, "bytes",
      has_bytes ? Bytes(env, outcome.bytes.data(), outcome.bytes.size()) : Undefined(env));
  return result;
}

napi_value FillPiecesWrapper(napi_env env, napi_callback_info info) {
  const Fields fields(env, Call(env, info).arguments[0]);
  const Fields blob = fields.Object("blob");
  const Memory spans = fields.Bytes("spans");
  const Memory window = fields.Bytes("window");
  const Memory digests = fields.Bytes("pieceDigests");
  const FillRequest request = {.blob_fd = blob.Fd("fd"),
                               .blob_offset = blob.Unsigned("offset"),
                               .blob_length = blob.Unsigned("length"),
                               .spans = spans.data,
                               .spans_size = spans.length,
                               .window = window.data,
                               .window_size = window.length,
                               .compressed_end = fields.Unsigned("compressedEnd"),
                               .bits_end = static_cast<uint8_t>(fields.Unsigned("bitsEnd", 7)),
                               .device_size = fields.Unsigned("deviceSize"),
                               .first_piece = fields.Unsigned("firstPiece"),
                               .piece_digests = digests.data,
                               .piece_count = digests.length / kDigestSize,
                               .data_fd = fields.OptionalFd("dataFd")};
  if (digests.length % kDigestSize != 0) ThrowType(env, "pieceDigests", "whole digests");
  if (IsThrown(env)) return nullptr;
  auto task = std::make_unique<Task>();
  for (const Memory& memory : {spans, window, digests}) task->kept.Add(env, memory.value);
  auto outcome = std::make_shared<FillOutcome>();
  task->run = [request, outcome] { *outcome = FillPieces(request); };
  task->settle = [outcome](napi_env env, bool*) { return FillResult(env, *outcome); };
  return RunTask(env, std::move(task));
}

}  // namespace

void ExportGzipFill(napi_env env, napi_value exports) {
  ExportFunction(env, exports, "fillPieces", FillPiecesWrapper);
}

}  // namespace ocimount
