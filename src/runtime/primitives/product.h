// Products with weights on the CPU by mlxmill's own kernels, as primitives of libmlx's graph.
// libmlx multiplies quantized weights on one thread there.
#pragma once

#include <mlx/mlx.h>

#include <vector>

#include "runtime/linear.h"

namespace mlxmill::runtime {

/// Whether the functions below compute x times this weight: on a CPU stream, for floating x of one
/// dtype with plain weights, and weights of as many axes as they ask for.
bool multiplies_on_cpu(const Linear& layer, const mx::array& x, int weight_axes);

/// x [..., in] to x W^T [..., out] of each layer, with its bias. All read x in one pass.
/// Requires multiplies_on_cpu(layer, x, 2) of each. Sums are F32, rounded once to x's dtype.
std::vector<mx::array> multiply_on_cpu(const std::vector<const Linear*>& layers,
                                       const mx::array& x);

/// x [..., 1, in] by the experts that `indices` name, as apply_gathered; without bias. Indices out
/// of range give zeros. Requires multiplies_on_cpu(layer, x, 3).
mx::array gather_on_cpu(const Linear& layer, const mx::array& x, const mx::array& indices);

/// Whether rows_on_cpu gives the rows of this table: on the CPU, all at hand.
bool has_rows_on_cpu(const Linear& table, const mx::array& ids);

/// Rows `ids` (i32, within the table) of an embedding, dequantized to `dtype` as libmlx does it:
/// ids.shape + [in].
mx::array rows_on_cpu(const Linear& table, const mx::array& ids, mx::Dtype dtype);

}  // namespace mlxmill::runtime
