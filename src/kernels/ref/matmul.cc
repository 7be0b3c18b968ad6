#include "kernels/ref/matmul.h"

#include <cmath>

#include "kernels/matmul_engine.h"
#include "kernels/ref/block_float.h"
#include "kernels/ref/codes.h"
#include "kernels/ref/floats.h"

namespace mlxmill::kernels::ref {
namespace {

struct Terms {
  double product;
  double bias;
};

Terms terms(const MatrixView& w, std::size_t n, std::size_t k) {
  if (!w.scheme) return {double{w.factor} * load(w.type, w.data, n * w.cols + k), 0.0};
  const unsigned code = get_code(weight_row(w, n), w.scheme->bits, k);
  const std::size_t group = n * groups_of(w) + k / group_of(w);
  if (is_affine(w)) {
    const double scale = load(w.type, w.scales, group);
    return {w.factor * scale * code, double{w.factor} * load(w.type, w.biases, group)};
  }
  const std::uint8_t byte = static_cast<const std::uint8_t*>(w.scales)[group];
  const double scale = block_scale_value(w.scheme->mode, DType::kF32, byte);
  const double value = w.scheme->mode == Mode::kMxfp8
                           ? f32_from_fp8(static_cast<std::uint8_t>(code))
                           : kFp4Values[code];
  return {w.factor * scale * value, 0.0};
}

}  // namespace

double weight_value(const MatrixView& w, std::size_t n, std::size_t k) {
  const Terms t = terms(w, n, k);
  return t.product + t.bias;
}

Output output(const Product& product, std::size_t i, std::size_t n) {
  Output sum{0, 0};
  for (std::size_t k = 0; k < product.weight.cols; ++k) {
    const double x = load(product.type, x_row(product, i), k);
    const Terms t = terms(product.weight, n, k);
    sum.value += x * (t.product + t.bias);
    sum.magnitude += std::fabs(x) * (std::fabs(t.product) + std::fabs(t.bias));
  }
  return sum;
}

void compute(const Product& product, std::size_t first, std::size_t last) {
  for (std::size_t i = 0; i < product.count; ++i) {
    for (std::size_t n = first; n < last; ++n) {
      const auto value = static_cast<float>(output(product, i, n).value);
      store(product.type, value, y_row(product, i), n);
    }
  }
}

}  // namespace mlxmill::kernels::ref
