// XXH3-128: finds damage, proves nothing against an attacker.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>

namespace mlxmill::io {

/// 128 bits in canonical (big-endian) order.
struct Digest {
  std::array<std::uint8_t, 16> bytes{};
  friend bool operator==(const Digest&, const Digest&) = default;
};

Digest digest(std::span<const std::byte> data);
inline Digest digest(std::string_view text) {
  return digest(std::as_bytes(std::span(text.data(), text.size())));
}

/// Digest of a sequence fed in parts.
class Hasher {
 public:
  Hasher();
  ~Hasher();
  Hasher(const Hasher&) = delete;
  Hasher& operator=(const Hasher&) = delete;
  void update(std::span<const std::byte> data);
  void update(std::string_view text) { update(std::as_bytes(std::span(text.data(), text.size()))); }
  void update(const Digest& part) { update(std::as_bytes(std::span(part.bytes))); }
  Digest finish() const;

 private:
  void* state_;
};

/// 32 hexadecimal digits.
std::string to_hex(const Digest& value);
std::optional<Digest> digest_from_hex(std::string_view text);

}  // namespace mlxmill::io
