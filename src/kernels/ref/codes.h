// Codes in memory: one little-endian bit stream, code k at bits [k * bits, (k + 1) * bits).
//
// libmlx packs 2, 4 and 8 bits into u32 words, 3 and 5 bits as 8 codes in 3 and 5 bytes, 6 bits as
// 4 codes in 3 bytes (mlx/backend/cpu/quantized.cpp, quantize); all of these are this stream, in
// which 8 codes take `bits` bytes.
#pragma once

#include <cstddef>
#include <cstdint>

namespace mlxmill::kernels::ref {

/// Writes code `index`; the bytes must start out zero.
inline void put_code(void* codes, int bits, std::size_t index, unsigned code) {
  auto* bytes = static_cast<std::uint8_t*>(codes);
  for (int b = 0; b < bits; ++b) {
    const std::size_t bit = index * static_cast<std::size_t>(bits) + static_cast<std::size_t>(b);
    bytes[bit / 8] = static_cast<std::uint8_t>(bytes[bit / 8] | (code >> b & 1) << bit % 8);
  }
}

inline unsigned get_code(const void* codes, int bits, std::size_t index) {
  const auto* bytes = static_cast<const std::uint8_t*>(codes);
  unsigned code = 0;
  for (int b = 0; b < bits; ++b) {
    const std::size_t bit = index * static_cast<std::size_t>(bits) + static_cast<std::size_t>(b);
    code |= (bytes[bit / 8] >> bit % 8 & 1u) << b;
  }
  return code;
}

}  // namespace mlxmill::kernels::ref
