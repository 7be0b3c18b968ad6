// The dispatched codecs behind kernels::quantize and kernels::dequantize, one pair per family.
#pragma once

#include "kernels/kernels.h"

namespace mlxmill::kernels {

/// quantize and dequantize of the affine mode.
std::size_t quantize_affine(const Scheme& scheme, const void* weights, DType type, std::size_t n,
                            QuantizedOut out);
void dequantize_affine(const Scheme& scheme, QuantizedIn in, DType type, std::size_t n,
                       void* weights);

/// quantize and dequantize of mxfp4, nvfp4 and mxfp8.
std::size_t quantize_block_float(const Scheme& scheme, const void* weights, DType type,
                                 std::size_t n, QuantizedOut out);
void dequantize_block_float(const Scheme& scheme, QuantizedIn in, DType type, std::size_t n,
                            void* weights);

}  // namespace mlxmill::kernels
