// SHA-2 through OpenSSL's EVP, which uses the processor's instructions for it.
#pragma once

#include <openssl/evp.h>

#include <cstddef>
#include <cstdint>
#include <memory>
#include <vector>

namespace ocimount {

enum class HashKind { kSha256, kSha512 };

/// One running hash. After Finish it starts anew.
class ShaDigest {
 public:
  explicit ShaDigest(HashKind kind)
      : kind_(kind == HashKind::kSha256 ? EVP_sha256() : EVP_sha512()), context_(EVP_MD_CTX_new()) {
    Start();
  }

  void Update(const void* bytes, size_t size) {
    ok_ = ok_ && EVP_DigestUpdate(context_.get(), bytes, size) == 1;
  }

  /// Gives the digest; empty where OpenSSL failed, which equals no digest.
  std::vector<uint8_t> Finish() {
    std::vector<uint8_t> digest(EVP_MAX_MD_SIZE);
    unsigned length = 0;
    ok_ = ok_ && EVP_DigestFinal_ex(context_.get(), digest.data(), &length) == 1;
    digest.resize(ok_ ? length : 0);
    Start();
    return digest;
  }

 private:
  struct Free {
    void operator()(EVP_MD_CTX* context) const { EVP_MD_CTX_free(context); }
  };

  void Start() {
    ok_ = context_ != nullptr && EVP_DigestInit_ex(context_.get(), kind_, nullptr) == 1;
  }

  const EVP_MD* kind_;
  std::unique_ptr<EVP_MD_CTX, Free> context_;
  bool ok_ = false;
};

}  // namespace ocimount
