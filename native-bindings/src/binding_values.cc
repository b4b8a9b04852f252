#include "binding_values.h"

#include <cmath>
#include <cstring>

#include "kernel_mount.h"

namespace ocimount {

bool IsThrown(napi_env env) {
  bool is_pending = false;
  napi_is_exception_pending(env, &is_pending);
  return is_pending;
}

void ThrowType(napi_env env, const char* name, const char* must_be) {
  const std::string message = std::string("`") + name + "` must be " + must_be;
  if (!IsThrown(env)) napi_throw_type_error(env, "ERR_INVALID_ARG_TYPE", message.c_str());
}

napi_value Undefined(napi_env env) {
  napi_value value = nullptr;
  napi_get_undefined(env, &value);
  return value;
}

napi_value Number(napi_env env, double number) {
  napi_value value = nullptr;
  napi_create_double(env, number, &value);
  return value;
}

napi_value Text(napi_env env, const std::string& text) {
  napi_value value = nullptr;
  napi_create_string_utf8(env, text.data(), text.size(), &value);
  return value;
}

napi_value Bytes(napi_env env, const void* data, size_t length) {
  napi_value value = nullptr;
  // Node-API refuses a null pointer even with no bytes behind it.
  napi_create_buffer_copy(env, length, length == 0 ? "" : data, nullptr, &value);
  return value;
}

void Set(napi_env env, napi_value object, const char* name, napi_value value) {
  napi_set_named_property(env, object, name, value);
}

std::string ErrorCode(int error_number) {
#if defined(__GLIBC__) && __GLIBC_PREREQ(2, 32)
  const char* name = strerrorname_np(error_number);
  if (name != nullptr) return name;
#endif
  std::string code = "E";
  code += std::to_string(error_number);
  return code;
}

SystemFailure Failure(int error_number, const char* syscall, const char* step) {
  return {.error_number = error_number, .syscall = syscall, .step = step, .detail = {}};
}

napi_value SystemError(napi_env env, const SystemFailure& failure) {
  std::string message = failure.step;
  if (!message.empty()) message = "cannot " + message + ": ";
  message += std::string(failure.syscall) + ": " + strerror(failure.error_number);
  if (!failure.detail.empty()) message += " (" + failure.detail + ")";
  napi_value error = nullptr;
  napi_create_error(env, Text(env, ErrorCode(failure.error_number)), Text(env, message), &error);
  Set(env, error, "errno", Number(env, -failure.error_number));
  Set(env, error, "syscall", Text(env, failure.syscall));
  Set(env, error, "step", Text(env, failure.step));
  return error;
}

uint64_t ToUnsigned(napi_env env, napi_value value, const char* name, double max) {
  double number = -1;
  napi_get_value_double(env, value, &number);
  if (number >= 0 && number <= max && std::floor(number) == number) {
    return static_cast<uint64_t>(number);
  }
  ThrowType(env, name, "a whole number in its range");
  return 0;
}

void RequireFunction(napi_env env, napi_value value, const char* name) {
  napi_valuetype type = napi_undefined;
  if (napi_typeof(env, value, &type) != napi_ok || type != napi_function) {
    ThrowType(env, name, "a function");
  }
}

int ToFd(napi_env env, napi_value value, const char* name) {
  return static_cast<int>(ToUnsigned(env, value, name, INT32_MAX));
}

std::string ToText(napi_env env, napi_value value, const char* name) {
  size_t length = 0;
  std::string text;
  if (napi_get_value_string_utf8(env, value, nullptr, 0, &length) == napi_ok) {
    text.resize(length);
    napi_get_value_string_utf8(env, value, text.data(), length + 1, nullptr);
    if (text.find('\0') == std::string::npos) return text;
  }
  ThrowType(env, name, "a string without NUL");
  return "";
}

Memory ToMemory(napi_env env, napi_value value, const char* name) {
  bool is_array = false;
  napi_typedarray_type type = napi_float64_array;
  Memory memory = {.data = nullptr, .length = 0, .value = value};
  void* data = nullptr;
  if (napi_is_typedarray(env, value, &is_array) == napi_ok && is_array &&
      napi_get_typedarray_info(env, value, &type, &memory.length, &data, nullptr, nullptr) ==
          napi_ok &&
      type == napi_uint8_array) {
    memory.data = static_cast<uint8_t*>(data);
    return memory;
  }
  ThrowType(env, name, "a Uint8Array");
  return {};
}

napi_value Fields::Value(const char* name) const {
  napi_value value = nullptr;
  if (napi_get_named_property(env_, object_, name, &value) != napi_ok) {
    ThrowType(env_, name, "a property of an object");
  }
  return value;
}

bool Fields::Flag(const char* name) const {
  bool flag = false;
  if (napi_get_value_bool(env_, Value(name), &flag) != napi_ok) {
    ThrowType(env_, name, "a boolean");
  }
  return flag;
}

uint64_t Fields::LowBits(const char* name) const {
  uint64_t number = 0;
  bool is_exact = false;
  if (napi_get_value_bigint_uint64(env_, Value(name), &number, &is_exact) != napi_ok) {
    ThrowType(env_, name, "a bigint");
  }
  return number;
}

napi_value Fields::Function(const char* name) const {
  napi_value value = Value(name);
  RequireFunction(env_, value, name);
  return value;
}

uint64_t Fields::OptionalUnsigned(const char* name) const {
  const napi_value value = Value(name);
  napi_valuetype type = napi_undefined;
  napi_typeof(env_, value, &type);
  return type == napi_undefined ? UINT64_MAX : ToUnsigned(env_, value, name);
}

int Fields::OptionalFd(const char* name) const {
  double number = 0;
  if (napi_get_value_double(env_, Value(name), &number) == napi_ok && number == -1) return -1;
  return Fd(name);
}

std::vector<int> Fields::Fds(const char* name) const {
  const napi_value array = Value(name);
  uint32_t count = 0;
  if (napi_get_array_length(env_, array, &count) != napi_ok) ThrowType(env_, name, "an array");
  std::vector<int> fds;
  for (uint32_t i = 0; i < count && !IsThrown(env_); ++i) {
    napi_value element = nullptr;
    napi_get_element(env_, array, i, &element);
    fds.push_back(ToFd(env_, element, name));
  }
  return fds;
}

Call::Call(napi_env env, napi_callback_info info) {
  size_t count = std::size(arguments);
  napi_get_cb_info(env, info, &count, arguments, &self, nullptr);
}

size_t Kept::Add(napi_env env, napi_value value) {
  napi_ref reference = nullptr;
  napi_create_reference(env, value, 1, &reference);
  references_.push_back(reference);
  return references_.size() - 1;
}

napi_value Kept::Get(napi_env env, size_t number) const {
  napi_value value = nullptr;
  napi_get_reference_value(env, references_[number], &value);
  return value;
}

void Kept::Drop(napi_env env) {
  for (napi_ref reference : references_) napi_delete_reference(env, reference);
  references_.clear();
}

}  // namespace ocimount
