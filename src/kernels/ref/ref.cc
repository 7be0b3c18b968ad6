#include "kernels/ref/ref.h"

#include <cstring>

#include "kernels/ref/floats.h"

namespace mlxmill::kernels::ref {

void convert_floats(const void* src, DType from, void* dst, DType to, std::size_t n) {
  if (n == 0) return;
  if (from == to) {
    std::memcpy(dst, src, n * dtype_bytes(from));
    return;
  }
  for (std::size_t i = 0; i < n; ++i) store(to, load(from, src, i), dst, i);
}

std::size_t count_non_finite(const void* src, DType type, std::size_t n) {
  std::size_t count = 0;
  for (std::size_t i = 0; i < n; ++i) count += is_finite(load(type, src, i)) ? 0 : 1;
  return count;
}

std::size_t quantize(const Scheme& scheme, const void* weights, DType type, std::size_t n,
                     QuantizedOut out) {
  if (scheme.mode == Mode::kAffine) {
    quantize_affine(scheme, weights, type, n, out);
  } else {
    quantize_block_float(scheme, weights, type, n, out);
  }
  return count_non_finite(weights, type, n);
}

void dequantize(const Scheme& scheme, QuantizedIn in, DType type, std::size_t n, void* weights) {
  if (scheme.mode == Mode::kAffine) {
    dequantize_affine(scheme, in, type, n, weights);
  } else {
    dequantize_block_float(scheme, in, type, n, weights);
  }
}

void transpose(const void* src, std::size_t rows, std::size_t cols, std::size_t src_stride,
               std::size_t element_bytes, void* dst) {
  const auto* from = static_cast<const std::uint8_t*>(src);
  auto* to = static_cast<std::uint8_t*>(dst);
  for (std::size_t r = 0; r < rows; ++r) {
    for (std::size_t c = 0; c < cols; ++c) {
      std::memcpy(to + (c * rows + r) * element_bytes, from + (r * src_stride + c) * element_bytes,
                  element_bytes);
    }
  }
}

}  // namespace mlxmill::kernels::ref
