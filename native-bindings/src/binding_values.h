// What the wrappers share to read arguments and to make values. A failed read leaves a TypeError pending, after which all
// further reads give zeros, so that a wrapper asks once, by IsThrown. Only the binding*.cc files include Node-API.

#ifndef OCIMOUNT_BINDING_VALUES_H_
#define OCIMOUNT_BINDING_VALUES_H_

#include <node_api.h>

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <utility>
#include <vector>

namespace ocimount {

struct SystemFailure;

constexpr double kMaxSafeInteger = 9007199254740991.0;

bool IsThrown(napi_env env);
void ThrowType(napi_env env, const char* name, const char* must_be);

napi_value Undefined(napi_env env);
napi_value Number(napi_env env, double number);
napi_value Text(napi_env env, const std::string& text);
/** A Buffer with a copy. */
napi_value Bytes(napi_env env, const void* data, size_t length);
void Set(napi_env env, napi_value object, const char* name, napi_value value);

/** The name of an errno. */
std::string ErrorCode(int error_number);
SystemFailure Failure(int error_number, const char* syscall, const char* step = "");
/** An Error in the manner of Node.js: `code`, negative `errno`, `syscall`; and `step`. */
napi_value SystemError(napi_env env, const SystemFailure& failure);

uint64_t ToUnsigned(napi_env env, napi_value value, const char* name,
                    double max = kMaxSafeInteger);
void RequireFunction(napi_env env, napi_value value, const char* name);
int ToFd(napi_env env, napi_value value, const char* name);
std::string ToText(napi_env env, napi_value value, const char* name);

/** Memory of a Uint8Array or Buffer; valid while `value` is kept from collection. */
struct Memory {
  uint8_t* data = nullptr;
  size_t length = 0;
  napi_value value = nullptr;
};
Memory ToMemory(napi_env env, napi_value value, const char* name);

/** Reads the properties of an object of options. */
class Fields {
 public:
  Fields(napi_env env, napi_value object) : env_(env), object_(object) {}

  napi_value Value(const char* name) const;
  Fields Object(const char* name) const { return {env_, Value(name)}; }
  int Fd(const char* name) const { return ToFd(env_, Value(name), name); }
  /** The same, where -1 means none. */
  int OptionalFd(const char* name) const;
  /** An array of descriptors. */
  std::vector<int> Fds(const char* name) const;
  uint64_t Unsigned(const char* name, double max = kMaxSafeInteger) const {
    return ToUnsigned(env_, Value(name), name, max);
  }
  /** The same, where undefined means as much as there can be. */
  uint64_t OptionalUnsigned(const char* name) const;
  std::string Text(const char* name) const { return ToText(env_, Value(name), name); }
  Memory Bytes(const char* name) const { return ToMemory(env_, Value(name), name); }
  bool Flag(const char* name) const;
  /** A bigint modulo 2^64. */
  uint64_t LowBits(const char* name) const;
  napi_value Function(const char* name) const;

 private:
  napi_env env_;
  napi_value object_;
};

/** `this` and the arguments of a call; what was not given is undefined. */
struct Call {
  Call(napi_env env, napi_callback_info info);

  napi_value self = nullptr;
  napi_value arguments[4] = {};
};

/** Keeps values from collection. To be used on the JavaScript thread alone. */
class Kept {
 public:
  /** Gives a number by which `Get` finds the value. */
  size_t Add(napi_env env, napi_value value);
  napi_value Get(napi_env env, size_t number) const;
  void Drop(napi_env env);

 private:
  std::vector<napi_ref> references_;
};

/** Binds a JavaScript object to what it refers to. */
template <class T>
void Wrap(napi_env env, napi_value self, std::shared_ptr<T> host) {
  auto* owner = new std::shared_ptr<T>(std::move(host));
  const auto finalize = [](napi_env, void* data, void*) {
    delete static_cast<std::shared_ptr<T>*>(data);
  };
  if (napi_wrap(env, self, owner, finalize, nullptr, nullptr) != napi_ok) delete owner;
}

/** Gives nothing, with a TypeError pending, where `this` is no such object. */
template <class T>
T* Unwrap(napi_env env, napi_value self) {
  void* data = nullptr;
  if (napi_unwrap(env, self, &data) == napi_ok) {
    return static_cast<std::shared_ptr<T>*>(data)->get();
  }
  ThrowType(env, "this", "an object of the class");
  return nullptr;
}

}  // namespace ocimount

#endif  // OCIMOUNT_BINDING_VALUES_H_
