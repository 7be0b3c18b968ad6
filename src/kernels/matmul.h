// Products of activations with weights as MLX stores them, plain or quantized, on all cores.
//
// Buffers hold little-endian elements without padding and need no alignment beyond that of a byte.
// What is exact, what is rounded and what may differ between machines: docs/NUMERICS.md.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/thread_pool.h"
#include "mlxmill/dtype.h"
#include "mlxmill/result.h"
#include "mlxmill/scheme.h"

namespace mlxmill::kernels {

/// A weight [rows, cols], row-major and dense; read only.
struct MatrixView {
  std::optional<Scheme> scheme;  ///< None: plain elements of `type`.
  DType type = DType::kBF16;     ///< Of plain elements, or of affine scales and biases.
  const void* data = nullptr;    ///< Elements, or codes (docs/FORMATS.md).
  const void* scales = nullptr;  ///< [rows, cols / group]: `type` in affine mode, else u8.
  const void* biases = nullptr;  ///< As scales; affine only.
  float factor = 1.0f;           ///< Multiplies every weight: the global scale of nvfp4.
  std::size_t rows = 0;
  std::size_t cols = 0;
};

/// y[out(i)] = x[in(i)] W^T for i < count. Rows of x have weight.cols elements, rows of y
/// weight.rows.
/// Requires cols % group_size == 0 of a quantized weight; types satisfy is_mlx_float; y overlaps
/// neither x nor weights, and no two rows of one call write the same place.
struct Product {
  MatrixView weight;
  DType type = DType::kBF16;  ///< Of x and y.
  const void* x = nullptr;
  void* y = nullptr;
  std::size_t x_stride = 0;  ///< Elements from row to row.
  std::size_t y_stride = 0;
  std::size_t count = 0;
  const void* bias = nullptr;  ///< [weight.rows] of `type`, added to what was rounded; or null.
  const std::uint32_t* in = nullptr;   ///< Row of x for each i; null: i itself.
  const std::uint32_t* out = nullptr;  ///< Row of y for each i; null: i itself.
  /// Affine codes of up to 6 bits and MXFP4 may meet x rounded to integers of 8 bits, by group of
  /// the weight, where that is faster.
  bool int8_x = false;
};

/// Computes all products, accumulating in F32 and rounding y once. Products that follow each other
/// and read the same rows of the same x share what is made of them.
/// Threads: the caller's and those of `pool`. The result does not depend on how many there are.
void multiply(std::span<const Product> products, base::ThreadPool& pool);

/// What can compute products, best first: "avx512-vnni" for few rows of BF16 and affine codes,
/// "amx-bf16" and "avx512-bf16" for BF16 activations on the machines that have them,
/// "highway-int8-batch" for many rows and "highway-int8" for few where int8_x allows it,
/// "highway-int16-batch" and "highway-int16" likewise for BF16, F16 and affine or FP4 codes,
/// "highway" for everything.
std::vector<std::string> supported_matmul_engines();

/// Restricts products to one engine (others still get what it cannot take); "auto" lifts it. Not
/// while products run. Errors: kUsage when the name is unknown, or the machine or the SIMD target
/// in force lacks it.
Status set_matmul_engine(std::string_view name);

/// The engine the latest product ran on; empty before the first.
std::string active_matmul_engine();

}  // namespace mlxmill::kernels
