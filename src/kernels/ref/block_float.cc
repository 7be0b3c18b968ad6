#include "kernels/ref/block_float.h"

#include <bit>
#include <cmath>
#include <cstring>

#include "kernels/ref/codes.h"
#include "kernels/ref/floats.h"
#include "kernels/ref/ref.h"

namespace mlxmill::kernels::ref {
namespace {

// Nearest entry of kFp4Values, the first of equals as argmin takes it. libmlx keeps the distances
// in the weight's dtype for mxfp4, and in f32 for nvfp4, whose quotient was multiplied by an f32
// one.
unsigned fp4_code(Mode mode, DType type, float x) {
  const DType distance_type = mode == Mode::kNvfp4 ? DType::kF32 : type;
  unsigned best = 0;
  float best_distance = round_to(distance_type, std::fabs(x));
  for (unsigned code = 1; code < 16; ++code) {
    const float distance = round_to(distance_type, std::fabs(x - kFp4Values[code]));
    if (distance < best_distance) {
      best = code;
      best_distance = distance;
    }
  }
  return best;
}

}  // namespace

std::uint8_t fp8_from_f32(float x) {
  const std::uint32_t sign = bits_of(x) >> 24 & 0x80;
  const std::uint32_t magnitude = bits_of(x) & 0x7FFFFFFF;
  std::uint32_t code;
  if (magnitude >= bits_of(448.0f)) {
    code = 0x7E;
  } else if (magnitude < bits_of(0x1p-6f)) {
    // One unit in the last place of 2^14 is the smallest E4M3, so the addition rounds to it.
    code = bits_of(float_of(magnitude) + 0x1p14f) - bits_of(0x1p14f);
  } else {
    code = (magnitude + 0x7FFFF + (magnitude >> 20 & 1) - (120u << 23)) >> 20;
  }
  return static_cast<std::uint8_t>(sign | code);
}

float f32_from_fp8(std::uint8_t byte) {
  if ((byte & 0x7F) == 0x7F) return float_of(kQuietNanF32);
  const unsigned exponent = byte >> 3 & 15;
  const auto fraction = static_cast<float>(byte & 7);
  const float magnitude = exponent == 0
                              ? fraction * 0x1p-9f
                              : (8 + fraction) * power_of_two(static_cast<int>(exponent) - 10);
  return byte & 0x80 ? -magnitude : magnitude;
}

float power_of_two(int exponent) {
  if (exponent >= -126) return float_of(static_cast<std::uint32_t>(exponent + 127) << 23);
  return float_of(1u << (exponent + 149));
}

int scale_exponent(float scale) {
  if (!is_finite(scale)) return 127;
  const std::uint32_t bits = bits_of(scale);
  const int biased = static_cast<int>(bits >> 23);
  if (biased == 0) return static_cast<int>(std::bit_width(bits - 1)) - 149;  // in units of 2^-149
  return biased - 127 + ((bits & 0x7FFFFF) != 0 ? 1 : 0);
}

BlockScale choose_block_scale(Mode mode, DType type, float max_magnitude) {
  const float scale = round_to(type, max_magnitude / (mode == Mode::kMxfp8 ? 448.0f : 6.0f));
  if (mode == Mode::kNvfp4) {
    const std::uint8_t byte = fp8_from_f32(scale);
    return {byte, f32_from_fp8(byte)};
  }
  const int exponent = scale == 0 ? 0 : scale_exponent(scale);
  // Exponents below -127 wrap around: that is what x86 makes of libmlx's cast to uint8.
  return {static_cast<std::uint8_t>(exponent + 127), power_of_two(exponent)};
}

float block_scale_value(Mode mode, DType type, std::uint8_t byte) {
  return round_to(type, mode == Mode::kNvfp4 ? f32_from_fp8(byte) : power_of_two(byte - 127));
}

// mlx/ops.cpp, fp_quantize, the fallback the CPU takes. Each operation rounds to the weight's
// dtype.
void quantize_block_float(const Scheme& scheme, const void* weights, DType type, std::size_t n,
                          QuantizedOut out) {
  const auto group_size = static_cast<std::size_t>(scheme.group_size);
  if (n == 0) return;
  std::memset(out.codes, 0, code_bytes(scheme, n));
  for (std::size_t g = 0; g < n / group_size; ++g) {
    float max_magnitude = 0;
    for (std::size_t i = g * group_size; i < (g + 1) * group_size; ++i) {
      const float magnitude = std::fabs(load(type, weights, i));
      if (max_magnitude < magnitude) max_magnitude = magnitude;  // NaN does not count
    }
    const BlockScale scale = choose_block_scale(scheme.mode, type, max_magnitude);
    static_cast<std::uint8_t*>(out.scales)[g] = scale.byte;
    for (std::size_t i = g * group_size; i < (g + 1) * group_size; ++i) {
      const float x = round_to(type, load(type, weights, i) / scale.divisor);
      unsigned code = 0;
      if (!is_nan(x)) code = scheme.bits == 4 ? fp4_code(scheme.mode, type, x) : fp8_from_f32(x);
      put_code(out.codes, scheme.bits, i, code);
    }
  }
}

// mlx/ops.cpp, fp_dequantize.
void dequantize_block_float(const Scheme& scheme, QuantizedIn in, DType type, std::size_t n,
                            void* weights) {
  for (std::size_t i = 0; i < n; ++i) {
    const std::size_t g = i / static_cast<std::size_t>(scheme.group_size);
    const unsigned code = get_code(in.codes, scheme.bits, i);
    const float value =
        scheme.bits == 4 ? kFp4Values[code] : f32_from_fp8(static_cast<std::uint8_t>(code));
    const float scale =
        block_scale_value(scheme.mode, type, static_cast<const std::uint8_t*>(in.scales)[g]);
    store(type, value * scale, weights, i);
  }
}

}  // namespace mlxmill::kernels::ref
