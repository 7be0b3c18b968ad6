// Products as the formula says, in F64: what kernels::multiply approximates, and how closely.
#pragma once

#include <cstddef>

#include "kernels/matmul.h"

namespace mlxmill::kernels::ref {

/// Weight [n, k] as the number its code, scale and bias stand for, nothing rounded.
double weight_value(const MatrixView& w, std::size_t n, std::size_t k);

/// An output before it is rounded, and the sum of the magnitudes it is made of: |x| times
/// (|scale * code| + |bias|). Errors are measured against the latter.
struct Output {
  double value;
  double magnitude;
};

/// Output of row i of the product for row n of the weight.
Output output(const Product& product, std::size_t i, std::size_t n);

/// Outputs of weight rows [first, last) for all rows of x, rounded to F32 and then to the type of
/// y.
void compute(const Product& product, std::size_t first, std::size_t last);

}  // namespace mlxmill::kernels::ref
