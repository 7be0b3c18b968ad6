#include "io/checksum.h"

// The context of EVP cannot be stored between runs; that of the older interface is plain data.
#define OPENSSL_SUPPRESS_DEPRECATED
#include <openssl/evp.h>
#include <openssl/sha.h>

#include <array>
#include <cstring>
#include <new>
#include <type_traits>

namespace mlxmill::io {
namespace {

std::string hex(std::span<const unsigned char> bytes) {
  static constexpr char kDigits[] = "0123456789abcdef";
  std::string text;
  for (const unsigned char byte : bytes) {
    text += kDigits[byte >> 4];
    text += kDigits[byte & 15];
  }
  return text;
}

SHA256_CTX context_of(const ResumableSha256::State& state) {
  static_assert(std::is_trivially_copyable_v<SHA256_CTX>);
  static_assert(sizeof(SHA256_CTX) <= ResumableSha256::kStateBytes);
  SHA256_CTX context;
  std::memcpy(&context, state.data(), sizeof context);
  return context;
}

}  // namespace

struct Checksum::State {
  explicit State(const EVP_MD* algorithm) : context(EVP_MD_CTX_new()) {
    if (!context) throw std::bad_alloc();
    good = EVP_DigestInit_ex(context, algorithm, nullptr) == 1;
  }
  ~State() { EVP_MD_CTX_free(context); }
  State(const State&) = delete;
  State& operator=(const State&) = delete;

  EVP_MD_CTX* context;
  bool good = false;
};

Checksum::Checksum(std::unique_ptr<State> state) : state_(std::move(state)) {}
Checksum::Checksum(Checksum&&) noexcept = default;
Checksum& Checksum::operator=(Checksum&&) noexcept = default;
Checksum::~Checksum() = default;

Checksum Checksum::sha256() { return Checksum(std::make_unique<State>(EVP_sha256())); }

Checksum Checksum::git_blob(std::uint64_t bytes) {
  Checksum checksum(std::make_unique<State>(EVP_sha1()));
  const std::string header = "blob " + std::to_string(bytes);
  // With the zero that ends it.
  checksum.update(std::as_bytes(std::span(header.c_str(), header.size() + 1)));
  return checksum;
}

void Checksum::update(std::span<const std::byte> data) {
  if (data.empty() || !state_->good) return;
  state_->good = EVP_DigestUpdate(state_->context, data.data(), data.size()) == 1;
}

std::string Checksum::finish() {
  std::array<unsigned char, EVP_MAX_MD_SIZE> bytes{};
  unsigned int n = 0;
  if (!state_->good || EVP_DigestFinal_ex(state_->context, bytes.data(), &n) != 1) return "";
  state_->good = false;
  return hex(std::span(bytes.data(), n));
}

ResumableSha256::ResumableSha256() : state_{} {
  SHA256_CTX context;
  SHA256_Init(&context);
  std::memcpy(state_.data(), &context, sizeof context);
}

void ResumableSha256::update(std::span<const std::byte> data) {
  SHA256_CTX context = context_of(state_);
  SHA256_Update(&context, data.data(), data.size());
  std::memcpy(state_.data(), &context, sizeof context);
}

std::string ResumableSha256::hex() const {
  SHA256_CTX context = context_of(state_);
  std::array<unsigned char, SHA256_DIGEST_LENGTH> bytes{};
  SHA256_Final(bytes.data(), &context);
  return io::hex(bytes);
}

}  // namespace mlxmill::io
