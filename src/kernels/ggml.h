// The block formats of ggml: weights from them, and the same numbers in MLX's layout where that can
// hold them. Layouts and formulas: docs/FORMATS.md and docs/NUMERICS.md.
#pragma once

#include <cstddef>
#include <optional>

#include "base/ggml_type.h"
#include "kernels/kernels.h"
#include "mlxmill/scheme.h"

namespace mlxmill::kernels {

/// The weights of n_blocks blocks of any type of base::GgmlType, bit for bit as
/// gguf.quants.dequantize computes them: in F32, every product and sum rounded once. NaNs become
/// the positive quiet NaN. F64 and I64 are rounded to F32, once.
/// Shapes: blocks - n_blocks * block_bytes; out - n_blocks * block_elements.
void decode_ggml(base::GgmlType type, const void* blocks, std::size_t n_blocks, float* out);

/// The scheme whose codes and scales can hold a type's blocks: affine with groups of 32 for Q4_0,
/// Q4_1 (4 bits), Q5_0, Q5_1 (5 bits) and Q8_0 (8 bits); mxfp4 for MXFP4; nvfp4 for NVFP4. Empty
/// for other types.
std::optional<Scheme> ggml_repack_scheme(base::GgmlType type);

/// Writes blocks as codes, scales and (affine) biases of that scheme. Scales and biases of affine
/// are F16. The codes are those of the blocks, in MLX's order; a scale is the block's own; a bias
/// is the block's minimum, or -8, -16 or -128 scales, which F16 holds but for its range.
/// Returns how many blocks do not decode to the same numbers: a scale or minimum that is not
/// finite, a bias that overflows F16, a scale byte to which MLX gives another meaning than ggml
/// (MXFP4: 255; NVFP4: 127 and above). Theirs are written all the same: the bias as infinity, the
/// scale byte as it is.
/// Requires ggml_repack_scheme(type).
std::size_t repack_ggml(base::GgmlType type, const void* blocks, std::size_t n_blocks,
                        QuantizedOut out);

}  // namespace mlxmill::kernels
