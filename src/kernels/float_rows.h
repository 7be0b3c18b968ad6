// How the portable kernels of products lay out rows of F32, on every target alike.
#pragma once

#include "kernels/matmul_engine.h"

namespace mlxmill::kernels {

// Rows of weights decoded at a time (a multiple of those in a tile), and bytes of scratch for
// unpacked codes: a block and a vector.
inline constexpr std::size_t kFloatBatchRows = 12;
inline constexpr std::size_t kFloatCodesRoom = 4096 + 64;

// Rows of F32 are padded with zeros to whole vectors on every target.
inline std::size_t padded(std::size_t cols) { return round_up(cols, 16); }

// A prepared row: x, then its sums by group.
inline std::size_t row_floats(const MatrixView& w) {
  return padded(w.cols) + (is_affine(w) ? padded(groups_of(w)) : 0);
}

}  // namespace mlxmill::kernels
