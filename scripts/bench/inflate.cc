// The least that reading a gzip layer can take: one thread inflates it with the zlib of Node.js, and keeps nothing.
// An addon, because that zlib is in the `node` binary: inflate(path) gives the number of bytes that came out.

#include <fcntl.h>
#include <node_api.h>
#include <unistd.h>
#include <zlib.h>

#include <string>
#include <vector>

namespace {

/** Returns the number of bytes, or -1: not readable, or not gzip. */
int64_t InflateFile(const char* path) {
  int fd = open(path, O_RDONLY | O_CLOEXEC);
  z_stream stream = {};
  if (fd < 0 || inflateInit2(&stream, 15 + 16) != Z_OK) return -1;
  std::vector<uint8_t> input(256 * 1024);
  std::vector<uint8_t> output(1 << 20);
  int64_t total = 0;
  int result = Z_OK;
  ssize_t count = 0;
  while ((count = read(fd, input.data(), input.size())) > 0) {
    stream.next_in = input.data();
    stream.avail_in = static_cast<uInt>(count);
    while (stream.avail_in > 0 || stream.avail_out == 0) {
      if (result == Z_STREAM_END && inflateReset(&stream) != Z_OK) return -1;
      stream.next_out = output.data();
      stream.avail_out = static_cast<uInt>(output.size());
      result = inflate(&stream, Z_NO_FLUSH);
      if (result == Z_BUF_ERROR) break;
      if (result != Z_OK && result != Z_STREAM_END) return -1;
      total += static_cast<int64_t>(output.size() - stream.avail_out);
      if (result == Z_STREAM_END && stream.avail_in == 0) break;
    }
  }
  inflateEnd(&stream);
  close(fd);
  return count == 0 && result == Z_STREAM_END ? total : -1;
}

napi_value Inflate(napi_env env, napi_callback_info info) {
  size_t count = 1;
  napi_value argument = nullptr;
  char path[4096];
  size_t length = 0;
  napi_value result = nullptr;
  if (napi_get_cb_info(env, info, &count, &argument, nullptr, nullptr) != napi_ok ||
      napi_get_value_string_utf8(env, argument, path, sizeof path, &length) != napi_ok) {
    napi_throw_type_error(env, nullptr, "a path is needed");
    return nullptr;
  }
  const int64_t bytes = InflateFile(path);
  if (bytes < 0) {
    napi_throw_error(env, nullptr, (std::string("Cannot inflate ") + path).c_str());
    return nullptr;
  }
  napi_create_int64(env, bytes, &result);
  return result;
}

}  // namespace

NAPI_MODULE_INIT() {
  napi_value function = nullptr;
  napi_create_function(env, "inflate", NAPI_AUTO_LENGTH, Inflate, nullptr, &function);
  napi_set_named_property(env, exports, "inflate", function);
  return exports;
}
