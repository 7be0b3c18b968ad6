// Quantizing and dequantizing on the CPU by mlxmill's own kernels, as primitives of libmlx's graph.
// libmlx does either on one thread.
#pragma once

#include <mlx/mlx.h>

#include <vector>

#include "mlxmill/scheme.h"

namespace mlxmill::runtime {

namespace mx = mlx::core;

/// x [..., n * group_size] as codes, scales and biases of an affine scheme, bit for bit as
/// mx::quantize. Requires computes_on_cpu(x).
std::vector<mx::array> quantize_on_cpu(const mx::array& x, const Scheme& scheme);

/// The values of codes, scales and biases as quantize_on_cpu gives them, or tokens of such
/// [1, heads, tokens, ...]; of the scales' type.
mx::array dequantize_on_cpu(const std::vector<mx::array>& parts, const Scheme& scheme);

}  // namespace mlxmill::runtime
