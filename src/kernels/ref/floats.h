// F16, BF16 and F32 one value at a time. All arithmetic is on the bits or exactly rounded, so every
// compiler and machine gives the same result.
#pragma once

#include <bit>
#include <cstddef>
#include <cstdint>
#include <cstring>

#include "mlxmill/dtype.h"

namespace mlxmill::kernels::ref {

inline constexpr std::uint32_t kQuietNanF32 = 0x7FC00000;
inline constexpr std::uint16_t kQuietNanBF16 = 0x7FC0;
inline constexpr std::uint16_t kQuietNanF16 = 0x7E00;

inline std::uint32_t bits_of(float x) { return std::bit_cast<std::uint32_t>(x); }
inline float float_of(std::uint32_t bits) { return std::bit_cast<float>(bits); }

inline bool is_nan(float x) { return (bits_of(x) & 0x7FFFFFFF) > 0x7F800000; }
inline bool is_finite(float x) { return (bits_of(x) & 0x7FFFFFFF) < 0x7F800000; }

inline float f32_from_bf16(std::uint16_t h) { return float_of(std::uint32_t{h} << 16); }

/// To nearest, ties to even; every NaN gives kQuietNanBF16.
inline std::uint16_t bf16_from_f32(float x) {
  if (is_nan(x)) return kQuietNanBF16;
  const std::uint32_t u = bits_of(x);
  return static_cast<std::uint16_t>((u + 0x7FFF + ((u >> 16) & 1)) >> 16);
}

inline float f32_from_f16(std::uint16_t h) {
  const std::uint32_t sign = std::uint32_t{h & 0x8000u} << 16;
  const std::uint32_t magnitude = h & 0x7FFFu;
  if (magnitude >= 0x7C00) return float_of(sign | 0x7F800000 | (magnitude & 0x3FF) << 13);
  if (magnitude >= 0x0400) return float_of(sign | ((magnitude << 13) + (112u << 23)));
  const float subnormal = static_cast<float>(magnitude) * 0x1p-24f;
  return float_of(sign | bits_of(subnormal));
}

/// To nearest, ties to even; 65520 and above give infinity, every NaN gives kQuietNanF16.
inline std::uint16_t f16_from_f32(float x) {
  if (is_nan(x)) return kQuietNanF16;
  const std::uint32_t sign = bits_of(x) >> 16 & 0x8000;
  std::uint32_t magnitude = bits_of(x) & 0x7FFFFFFF;
  if (magnitude >= bits_of(65536.0f)) {
    magnitude = 0x7C00;
  } else if (magnitude < bits_of(0x1p-14f)) {
    // One unit in the last place of 0.5f is the smallest f16, so the addition rounds to it.
    magnitude = bits_of(float_of(magnitude) + 0.5f) - bits_of(0.5f);
  } else {
    magnitude = (magnitude + 0xFFF + (magnitude >> 13 & 1) - (112u << 23)) >> 13;
  }
  return static_cast<std::uint16_t>(sign | magnitude);
}

/// Element `index` of an array of F16, BF16 or F32 at any alignment.
inline float load(DType type, const void* data, std::size_t index) {
  const std::size_t bytes = type == DType::kF32 ? 4 : 2;
  const auto* at = static_cast<const std::uint8_t*>(data) + index * bytes;
  if (type == DType::kF32) {
    float x;
    std::memcpy(&x, at, 4);
    return x;
  }
  std::uint16_t h;
  std::memcpy(&h, at, 2);
  return type == DType::kBF16 ? f32_from_bf16(h) : f32_from_f16(h);
}

/// The inverse of load: rounds to `type`, NaN to its quiet NaN.
inline void store(DType type, float x, void* data, std::size_t index) {
  const std::size_t bytes = type == DType::kF32 ? 4 : 2;
  auto* at = static_cast<std::uint8_t*>(data) + index * bytes;
  if (type == DType::kF32) {
    const std::uint32_t u = is_nan(x) ? kQuietNanF32 : bits_of(x);
    std::memcpy(at, &u, 4);
    return;
  }
  const std::uint16_t h = type == DType::kBF16 ? bf16_from_f32(x) : f16_from_f32(x);
  std::memcpy(at, &h, 2);
}

/// The value `x` has once stored as `type`.
inline float round_to(DType type, float x) {
  switch (type) {
    case DType::kBF16:
      return f32_from_bf16(bf16_from_f32(x));
    case DType::kF16:
      return f32_from_f16(f16_from_f32(x));
    default:
      return x;
  }
}

}  // namespace mlxmill::kernels::ref
