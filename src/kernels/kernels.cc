#include "kernels/kernels.h"

#include <bit>

#include "kernels/codecs.h"

static_assert(std::endian::native == std::endian::little,
              "the kernels read and write little-endian elements in place");

namespace mlxmill::kernels {

std::size_t quantize(const Scheme& scheme, const void* weights, DType type, std::size_t n,
                     QuantizedOut out) {
  return scheme.mode == Mode::kAffine ? quantize_affine(scheme, weights, type, n, out)
                                      : quantize_block_float(scheme, weights, type, n, out);
}

void dequantize(const Scheme& scheme, QuantizedIn in, DType type, std::size_t n, void* weights) {
  scheme.mode == Mode::kAffine ? dequantize_affine(scheme, in, type, n, weights)
                               : dequantize_block_float(scheme, in, type, n, weights);
}

}  // namespace mlxmill::kernels
