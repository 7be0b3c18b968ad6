// The small floating formats of mxfp4, nvfp4 and mxfp8: E2M1 codes, E4M3 codes and scales, E8M0
// scales. Plain functions of one value, shared by the reference and the kernels' per-group part.
#pragma once

#include <cstddef>
#include <cstdint>

#include "mlxmill/dtype.h"
#include "mlxmill/scheme.h"

namespace mlxmill::kernels::ref {

/// The value of each FP4 (E2M1) code.
inline constexpr float kFp4Values[16] = {0.0f,  0.5f,  1.0f,  1.5f,  2.0f,  3.0f,  4.0f,  6.0f,
                                         -0.0f, -0.5f, -1.0f, -1.5f, -2.0f, -3.0f, -4.0f, -6.0f};

/// F32 to E4M3: to nearest, ties to even; 448 and above, infinity and NaN give 448; keeps the sign.
std::uint8_t fp8_from_f32(float x);

/// The value of an E4M3 byte; 0x7F and 0xFF are NaN.
float f32_from_fp8(std::uint8_t byte);

/// The exponent of the smallest power of two that is at least `scale`; 127 for infinity and NaN.
/// Requires scale > 0 (or NaN).
int scale_exponent(float scale);

/// 2^exponent; infinity above 127, subnormal below -126. Requires exponent in [-149, 128].
float power_of_two(int exponent);

/// What a group's largest magnitude decides: the byte stored, and the divisor of its weights.
struct BlockScale {
  std::uint8_t byte;
  float divisor;
};

/// The scale of a group in mxfp4, nvfp4 or mxfp8.
BlockScale choose_block_scale(Mode mode, DType type, float max_magnitude);

/// The factor a stored scale byte stands for, rounded to `type`.
float block_scale_value(Mode mode, DType type, std::uint8_t byte);

}  // namespace mlxmill::kernels::ref
