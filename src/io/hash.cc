#include "io/hash.h"

// The build defines it for every user of the library; a lone compile of this file needs it too.
#ifndef XXH_INLINE_ALL
#define XXH_INLINE_ALL
#endif
#include <xxhash.h>

#include <cstring>
#include <new>

namespace mlxmill::io {
namespace {

static_assert(sizeof(XXH128_canonical_t) == sizeof(Digest::bytes));

Digest canonical(XXH128_hash_t hash) {
  XXH128_canonical_t bytes;
  XXH128_canonicalFromHash(&bytes, hash);
  Digest value;
  std::memcpy(value.bytes.data(), bytes.digest, value.bytes.size());
  return value;
}

int hex_digit(char c) {
  if (c >= '0' && c <= '9') return c - '0';
  if (c >= 'a' && c <= 'f') return c - 'a' + 10;
  if (c >= 'A' && c <= 'F') return c - 'A' + 10;
  return -1;
}

}  // namespace

Digest digest(std::span<const std::byte> data) {
  return canonical(XXH3_128bits(data.data(), data.size()));
}

Hasher::Hasher() {
  // The state must lie on 64 bytes; XXH3_createState sees to that.
  XXH3_state_t* state = XXH3_createState();
  if (!state) throw std::bad_alloc();
  XXH3_128bits_reset(state);
  state_ = state;
}

Hasher::~Hasher() { XXH3_freeState(static_cast<XXH3_state_t*>(state_)); }

void Hasher::update(std::span<const std::byte> data) {
  if (data.empty()) return;
  XXH3_128bits_update(static_cast<XXH3_state_t*>(state_), data.data(), data.size());
}

Digest Hasher::finish() const {
  return canonical(XXH3_128bits_digest(static_cast<const XXH3_state_t*>(state_)));
}

std::string to_hex(const Digest& value) {
  static constexpr char kDigits[] = "0123456789abcdef";
  std::string text;
  text.reserve(2 * value.bytes.size());
  for (const std::uint8_t byte : value.bytes) {
    text += kDigits[byte >> 4];
    text += kDigits[byte & 15];
  }
  return text;
}

std::optional<Digest> digest_from_hex(std::string_view text) {
  Digest value;
  if (text.size() != 2 * value.bytes.size()) return std::nullopt;
  for (std::size_t i = 0; i < value.bytes.size(); ++i) {
    const int high = hex_digit(text[2 * i]);
    const int low = hex_digit(text[2 * i + 1]);
    if (high < 0 || low < 0) return std::nullopt;
    value.bytes[i] = static_cast<std::uint8_t>(high * 16 + low);
  }
  return value;
}

}  // namespace mlxmill::io
