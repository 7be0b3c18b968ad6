// What the block decoders share. A decoder sees one block in an array of its own, which nothing
// aliases, so its loops vectorize.
#pragma once

#include <bit>
#include <cstddef>
#include <cstdint>
#include <cstring>

#include "base/ggml_type.h"
#include "kernels/ref/floats.h"

namespace mlxmill::kernels {

/// Decodes n blocks.
using GgmlDecoder = void (*)(const void* blocks, std::size_t n, float* out);

/// Each file's part of the types; null for the others.
GgmlDecoder ggml_simple_decoder(base::GgmlType type);
GgmlDecoder ggml_k_decoder(base::GgmlType type);
GgmlDecoder ggml_iq_decoder(base::GgmlType type);

inline std::uint16_t load_u16(const std::uint8_t* at) {
  return static_cast<std::uint16_t>(at[0] | at[1] << 8);
}
inline std::uint32_t load_u32(const std::uint8_t* at) {
  return load_u16(at) | std::uint32_t{load_u16(at + 2)} << 16;
}
inline float load_f16(const std::uint8_t* at) { return ref::f32_from_f16(load_u16(at)); }

/// Nibble `index` of a string of bytes, the low one of a byte first.
inline unsigned nibble(const std::uint8_t* bytes, std::size_t index) {
  return bytes[index / 2] >> (index % 2 * 4) & 15u;
}

/// Runs a decoder of one block over n. NaNs are made one: x86 and Arm compute different ones.
template <std::size_t kElements, std::size_t kBytes,
          void (*kDecode)(const std::uint8_t (&block)[kBytes], float (&out)[kElements])>
void decode_blocks(const void* blocks, std::size_t n, float* out) {
  const auto* from = static_cast<const std::uint8_t*>(blocks);
  for (std::size_t i = 0; i < n; ++i, from += kBytes, out += kElements) {
    std::uint8_t block[kBytes];
    float values[kElements];
    std::memcpy(block, from, kBytes);
    kDecode(block, values);
    for (std::size_t j = 0; j < kElements; ++j) {
      out[j] = ref::is_nan(values[j]) ? ref::float_of(ref::kQuietNanF32) : values[j];
    }
  }
}

/// The element type, block size and decoder of one type, held against the table.
template <base::GgmlType kType, std::size_t kElements, std::size_t kBytes,
          void (*kDecode)(const std::uint8_t (&block)[kBytes], float (&out)[kElements])>
constexpr GgmlDecoder decoder() {
  constexpr base::GgmlTypeInfo kInfo = base::ggml_type_info(kType);
  // Elements of plain types come in runs.
  static_assert(kElements % kInfo.block_elements == 0);
  static_assert(kElements / kInfo.block_elements * kInfo.block_bytes == kBytes);
  return &decode_blocks<kElements, kBytes, kDecode>;
}

}  // namespace mlxmill::kernels
