#include <cmath>
#include <cstring>
#include <limits>

#include "kernels/ref/codes.h"
#include "kernels/ref/floats.h"
#include "kernels/ref/ref.h"

namespace mlxmill::kernels::ref {
namespace {

struct AffineGroup {
  float scale;
  float bias;
};

// mlx/backend/cpu/quantized.cpp, quantize: the end of the range that is larger in magnitude becomes
// the bias and is hit exactly; the scale is stretched so that zero is a code. NaN weights lose
// every comparison, so they do not count.
AffineGroup choose_group(const void* weights, DType type, std::size_t first, int group_size,
                         float n_bins) {
  float w_min = std::numeric_limits<float>::infinity();
  float w_max = -w_min;
  for (int j = 0; j < group_size; ++j) {
    const float w = load(type, weights, first + static_cast<std::size_t>(j));
    if (w_max < w) w_max = w;
    if (w < w_min) w_min = w;
  }
  const bool negative_edge = std::fabs(w_min) > std::fabs(w_max);
  float scale = (w_max - w_min) / n_bins;
  if (scale < 1e-7f) scale = 1e-7f;
  if (!negative_edge) scale = -scale;
  const float edge = negative_edge ? w_min : w_max;
  const float q0 = std::nearbyint(edge / scale);
  if (q0 == 0) return {scale, 0.0f};
  return {edge / q0, edge};
}

unsigned code_of(float w, AffineGroup group, float n_bins) {
  const float q = std::nearbyint((w - group.bias) / group.scale);
  if (!(q > 0.0f)) return 0;  // NaN too
  return static_cast<unsigned>(q < n_bins ? q : n_bins);
}

}  // namespace

void quantize_affine(const Scheme& scheme, const void* weights, DType type, std::size_t n,
                     QuantizedOut out) {
  const auto group_size = static_cast<std::size_t>(scheme.group_size);
  const auto n_bins = static_cast<float>((1 << scheme.bits) - 1);
  if (n == 0) return;
  std::memset(out.codes, 0, code_bytes(scheme, n));
  for (std::size_t g = 0; g < n / group_size; ++g) {
    const AffineGroup group =
        choose_group(weights, type, g * group_size, scheme.group_size, n_bins);
    for (std::size_t i = g * group_size; i < (g + 1) * group_size; ++i) {
      put_code(out.codes, scheme.bits, i, code_of(load(type, weights, i), group, n_bins));
    }
    // Codes come from the unrounded scale and bias; the stored ones are rounded.
    store(type, group.scale, out.scales, g);
    store(type, group.bias, out.biases, g);
  }
}

// mlx/ops.cpp, affine_dequantize: multiply and add are separate array operations.
void dequantize_affine(const Scheme& scheme, QuantizedIn in, DType type, std::size_t n,
                       void* weights) {
  for (std::size_t i = 0; i < n; ++i) {
    const std::size_t g = i / static_cast<std::size_t>(scheme.group_size);
    const auto code = static_cast<float>(get_code(in.codes, scheme.bits, i));
    const float product = round_to(type, code * load(type, in.scales, g));
    store(type, product + load(type, in.biases, g), weights, i);
  }
}

}  // namespace mlxmill::kernels::ref
