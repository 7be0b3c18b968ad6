// How the kernels of integer products lay out rows, on every target alike.
#pragma once

#include "kernels/float_rows.h"
#include "kernels/matmul_engine.h"

namespace mlxmill::kernels::integers {

// A prepared row: integers in the order products read them, sums of x by group, units by group.
inline std::size_t integer_bytes(const Product& p) {
  return round_up(p.weight.cols * (p.int8_x ? 1 : 2), 64);
}
inline std::size_t prepared_row_bytes(const Product& p) {
  return integer_bytes(p) + 2 * padded(groups_of(p.weight)) * sizeof(float);
}

/// Whether the codes of a weight may meet x of 8 bits.
inline bool has_int8_codes(const MatrixView& w) {
  return is_affine(w) || (w.scheme && w.scheme->mode == Mode::kMxfp4);
}

/// Room for the scales or biases of a task, and what a vector may read beyond them.
inline std::size_t task_parameters(const MatrixView& w) {
  return padded(vector_task_rows(w) * groups_of(w)) + 16;
}

// About how many bytes of x stay in the second-level cache while weights pass by.
inline constexpr std::size_t kPanelBytes = 192 << 10;

// What reading the last codes of a row may read beyond them.
inline constexpr std::size_t kReadAhead = 16;

/// Bytes of a row whose codes were copied to where reading beyond them is safe.
inline std::size_t copied_row_bytes(const MatrixView& w) {
  return round_up(row_bytes(w) + kReadAhead, 64);
}

}  // namespace mlxmill::kernels::integers
