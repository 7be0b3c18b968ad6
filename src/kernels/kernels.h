// The numeric kernels: what each computes, bit for bit. One call covers a block of at least some
// thousand weights, so dispatch costs nothing.
//
// Buffers hold little-endian elements without padding and need no alignment beyond that of a byte.
// Every function gives the same bytes on every SIMD target and equals its namesake in `ref/`.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

#include "mlxmill/dtype.h"
#include "mlxmill/scheme.h"

namespace mlxmill::kernels {

/// Converts n elements between F16, BF16 and F32, rounding to nearest, ties to even; equal types
/// copy. Overflow gives infinity; every NaN becomes a quiet NaN of the target type. Requires `from`
/// and `to` satisfy is_mlx_float; `dst` may not overlap `src`.
void convert_floats(const void* src, DType from, void* dst, DType to, std::size_t n);

/// How many of n elements are NaN or infinite. Requires is_mlx_float(type).
std::size_t count_non_finite(const void* src, DType type, std::size_t n);

/// Bytes that n weights (a multiple of the group size) take as codes.
constexpr std::size_t code_bytes(const Scheme& scheme, std::size_t n) {
  return n / 8 * static_cast<std::size_t>(scheme.bits);
}

/// Where the parts of quantized weights go. For n weights:
/// codes  - code_bytes(scheme, n), the layout of docs/FORMATS.md (little-endian bit stream per u32
/// word run); scales - n / group_size elements: of the weight's dtype in affine mode, else one u8
/// (E4M3 or E8M0); biases - as scales in affine mode; unused otherwise.
struct QuantizedOut {
  void* codes;
  void* scales;
  void* biases;
};
struct QuantizedIn {
  const void* codes;
  const void* scales;
  const void* biases;
};

/// Quantizes n weights of `type` (F16, BF16, F32) as libmlx's CPU backend does (docs/NUMERICS.md).
/// Requires n % scheme.group_size == 0 and a legal scheme.
/// Returns how many weights are NaN or infinite. Groups that hold one are coded by the scalar
/// reference, with NaN codes as 0, so the bytes are defined and the same everywhere.
std::size_t quantize(const Scheme& scheme, const void* weights, DType type, std::size_t n,
                     QuantizedOut out);

/// The weights that n codes stand for, as libmlx's CPU backend computes them: every product and sum
/// rounded to `type`. `type` is the dtype of scales and biases in affine mode and the wanted output
/// dtype otherwise (mlx-lm uses BF16).
void dequantize(const Scheme& scheme, QuantizedIn in, DType type, std::size_t n, void* weights);

/// Copies the transpose: dst[c * rows + r] = src[r * src_stride + c] for r < rows, c < cols,
/// elements of `element_bytes` (1, 2, 4 or 8). Strides count elements.
void transpose(const void* src, std::size_t rows, std::size_t cols, std::size_t src_stride,
               std::size_t element_bytes, void* dst);

}  // namespace mlxmill::kernels
