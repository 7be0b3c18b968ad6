// How the kernels of integer products lay out rows, on every target alike.
#pragma once

#include "kernels/float_rows.h"
#include "kernels/matmul_engine.h"

namespace mlxmill::kernels::integers {

/// Whether x is rounded to 8 bits. Beside codes of 8 bits that would cost as much as quantization
/// did, and products of signed bytes are no faster.
inline bool takes_int8(const Product& p) {
  const auto& scheme = p.weight.scheme;
  return p.int8_x && scheme && scheme->bits <= 6 && scheme->mode != Mode::kNvfp4;
}

/// Whether x becomes integers of 16 bits: one of 16 bits itself, which codes meet that are
/// integers.
inline bool takes_int16(const Product& p) {
  const auto& scheme = p.weight.scheme;
  return p.type != DType::kF32 && scheme && scheme->mode != Mode::kMxfp8 && !takes_int8(p);
}

// A prepared row: integers in the order products read them, sums of x by group, units by group.
inline std::size_t integer_bytes(const Product& p) {
  return round_up(p.weight.cols * (takes_int8(p) ? 1 : 2), 64);
}
inline std::size_t prepared_row_bytes(const Product& p) {
  return integer_bytes(p) + 2 * padded(groups_of(p.weight)) * sizeof(float);
}

/// Room for the scales or biases of `rows` rows, and what a vector may read beyond them.
inline std::size_t parameter_room(const MatrixView& w, std::size_t rows) {
  return padded(rows * groups_of(w)) + 16;
}

/// An engine over integers. `takes` and the others: as in MatmulEngine.
inline MatmulEngine integer_engine(const char* name, decltype(MatmulEngine::takes) takes,
                                   decltype(MatmulEngine::prepare) prepare,
                                   decltype(MatmulEngine::scratch_bytes) scratch_bytes,
                                   decltype(MatmulEngine::compute) compute) {
  return {name,
          /*portable=*/true,
          [] { return true; },
          takes,
          [](const Product& p) { return p.count * prepared_row_bytes(p); },
          prepare,
          scratch_bytes,
          [](const Product& p) { return vector_task_rows(p.weight); },
          compute};
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
