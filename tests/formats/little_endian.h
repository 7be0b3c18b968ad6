// Numbers as bytes, for files that tests write.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>

namespace mlxmill::testing {

/// A number in `width` bytes, lowest first; those beyond its own are zero.
inline std::string le(std::uint64_t value, std::size_t width) {
  std::string bytes;
  for (std::size_t i = 0; i < width; ++i) {
    bytes += static_cast<char>(value & 0xFF);
    value >>= 8;
  }
  return bytes;
}

}  // namespace mlxmill::testing
