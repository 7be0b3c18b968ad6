// The readable scalar specification of every kernel: same names, same meaning, one weight at a
// time, no SIMD. docs/NUMERICS.md says where each step comes from.
#pragma once

#include "kernels/kernels.h"

namespace mlxmill::kernels::ref {

/// As kernels::convert_floats.
void convert_floats(const void* src, DType from, void* dst, DType to, std::size_t n);

/// As kernels::count_non_finite.
std::size_t count_non_finite(const void* src, DType type, std::size_t n);

/// As kernels::quantize and kernels::dequantize, any mode.
std::size_t quantize(const Scheme& scheme, const void* weights, DType type, std::size_t n,
                     QuantizedOut out);
void dequantize(const Scheme& scheme, QuantizedIn in, DType type, std::size_t n, void* weights);

/// The two families quantize and dequantize choose from.
void quantize_affine(const Scheme& scheme, const void* weights, DType type, std::size_t n,
                     QuantizedOut out);
void dequantize_affine(const Scheme& scheme, QuantizedIn in, DType type, std::size_t n,
                       void* weights);
void quantize_block_float(const Scheme& scheme, const void* weights, DType type, std::size_t n,
                          QuantizedOut out);
void dequantize_block_float(const Scheme& scheme, QuantizedIn in, DType type, std::size_t n,
                            void* weights);

/// As kernels::transpose.
void transpose(const void* src, std::size_t rows, std::size_t cols, std::size_t src_stride,
               std::size_t element_bytes, void* dst);

}  // namespace mlxmill::kernels::ref
