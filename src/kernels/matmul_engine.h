// What kernels/matmul.cc asks of each way to compute products.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>

#include "kernels/kernels.h"
#include "kernels/matmul.h"

namespace mlxmill::kernels {

// Rows of x are prepared in panels of this many.
inline constexpr std::size_t kPanelRows = 16;

// Up to this many rows of x meet each weight as it is read; more make decoding it once worthwhile.
inline constexpr std::size_t kVectorRows = 4;

constexpr std::size_t round_up(std::size_t n, std::size_t to) { return (n + to - 1) / to * to; }

constexpr std::size_t ceil_div(std::size_t n, std::size_t by) { return (n + by - 1) / by; }

/// One way to compute products. All buffers are aligned to 64 bytes.
struct MatmulEngine {
  const char* name;

  /// Computes on the SIMD target in force; others have instructions of their own.
  bool portable;

  /// Whether this machine has the instructions, and the SIMD target in force is one it is for.
  bool (*supported)();

  /// Whether it computes this product.
  bool (*takes)(const Product& product);

  /// Bytes of x once prepared, for all rows.
  std::size_t (*prepared_bytes)(const Product& product);

  /// Prepares rows [first, last) of x; `first` is a multiple of kPanelRows.
  void (*prepare)(const Product& product, std::size_t first, std::size_t last,
                  std::uint8_t* prepared);

  /// Bytes that compute needs beside its arguments.
  std::size_t (*scratch_bytes)(const Product& product);

  /// Rows of the weight that make one task.
  std::size_t (*task_rows)(const Product& product);

  /// Computes the outputs of weight rows [first, last) for all rows of x; `first` is a multiple of
  /// task_rows.
  void (*compute)(const Product& product, const std::uint8_t* prepared, std::size_t first,
                  std::size_t last, std::uint8_t* scratch);
};

const MatmulEngine& highway_engine();
const MatmulEngine& int16_engine();
const MatmulEngine& int8_engine();
const MatmulEngine& int16_batch_engine();
const MatmulEngine& int8_batch_engine();
const MatmulEngine& avx512_vnni_engine();
const MatmulEngine& avx512_bf16_engine();
const MatmulEngine& amx_bf16_engine();

/// Row `i` of x, and of y.
inline const std::uint8_t* x_row(const Product& p, std::size_t i) {
  const std::size_t row = p.in != nullptr ? p.in[i] : i;
  return static_cast<const std::uint8_t*>(p.x) + row * p.x_stride * dtype_bytes(p.type);
}
inline std::uint8_t* y_row(const Product& p, std::size_t i) {
  const std::size_t row = p.out != nullptr ? p.out[i] : i;
  return static_cast<std::uint8_t*>(p.y) + row * p.y_stride * dtype_bytes(p.type);
}

/// Bytes of one row of a weight's elements or codes.
inline std::size_t row_bytes(const MatrixView& w) {
  return w.scheme ? code_bytes(*w.scheme, w.cols) : w.cols * dtype_bytes(w.type);
}
inline const std::uint8_t* weight_row(const MatrixView& w, std::size_t n) {
  return static_cast<const std::uint8_t*>(w.data) + n * row_bytes(w);
}
inline bool is_affine(const MatrixView& w) { return w.scheme && w.scheme->mode == Mode::kAffine; }

/// Weights per group, and groups in a row; a plain weight has none.
inline std::size_t group_of(const MatrixView& w) {
  return w.scheme ? static_cast<std::size_t>(w.scheme->group_size) : w.cols;
}
inline std::size_t groups_of(const MatrixView& w) { return w.scheme ? w.cols / group_of(w) : 0; }

/// Scales (or biases) of row n; `at` is where those of row 0 start.
inline const std::uint8_t* parameter_row(const MatrixView& w, const void* at, std::size_t n) {
  const std::size_t bytes = is_affine(w) ? dtype_bytes(w.type) : 1;
  return static_cast<const std::uint8_t*>(at) + n * groups_of(w) * bytes;
}

/// Rows of a weight that are worth a task when each is read once.
inline std::size_t vector_task_rows(const MatrixView& w) {
  constexpr std::size_t kTaskBytes = 32768;
  const std::size_t rows = round_up(kTaskBytes / (row_bytes(w) + 1) + 1, 8);
  return rows < 256 ? rows : 256;
}

/// How far ahead of the codes in use lines are fetched (to the second level: the first has too few
/// buffers for what is under way), `side` rows read at once: the same place in
/// rows that come next, or further on in the same where rows are long.
inline std::size_t fetch_ahead(std::size_t bytes, std::size_t side) {
  constexpr std::size_t kAhead = 16384;
  const std::size_t together = std::max<std::size_t>(1, bytes * side);
  return together > 2 * kAhead ? kAhead / 4 : round_up(kAhead, together);
}

}  // namespace mlxmill::kernels
