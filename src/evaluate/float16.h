// IEEE binary16, one value at a time.
#pragma once

#include <bit>
#include <cstdint>

namespace mlxmill::evaluate {

/// Rounds to nearest, ties to even. Requires a finite value of at most 65504 in size; larger ones
/// become the largest finite value of their sign.
inline std::uint16_t to_float16(float value) {
  const auto bits = std::bit_cast<std::uint32_t>(value);
  const auto sign = static_cast<std::uint16_t>(bits >> 16U & 0x8000U);
  const std::uint32_t size = bits & 0x7FFFFFFFU;
  if (size >= 0x477FE000U) return sign | 0x7BFFU;  // 65504 and above
  if (size < 0x38800000U) {                        // below 2^-14: multiples of 2^-24
    const float scaled = std::bit_cast<float>(size) * 0x1p24F;
    auto whole = static_cast<std::uint32_t>(scaled);
    const float rest = scaled - static_cast<float>(whole);
    if (rest > 0.5F || (rest == 0.5F && (whole & 1U) != 0)) ++whole;
    return static_cast<std::uint16_t>(sign | whole);
  }
  const std::uint32_t rounded = size + 0xFFFU + (size >> 13U & 1U);
  return static_cast<std::uint16_t>(sign | ((rounded - 0x38000000U) >> 13U));
}

/// Exact; infinities and NaN included.
inline float from_float16(std::uint16_t half) {
  const std::uint32_t sign = (half & 0x8000U) << 16U;
  const std::uint32_t exponent = half >> 10U & 0x1FU;
  const std::uint32_t fraction = half & 0x3FFU;
  if (exponent == 0) {
    const float value = static_cast<float>(fraction) * 0x1p-24F;
    return sign != 0 ? -value : value;
  }
  const std::uint32_t wide = exponent == 0x1FU ? 0xFFU : exponent + 112U;
  return std::bit_cast<float>(sign | wide << 23U | fraction << 13U);
}

}  // namespace mlxmill::evaluate
