// Means with standard errors, and quantiles. All in double, compensated.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "mlxmill/evaluate.h"

namespace mlxmill::evaluate {

/// Sum with Neumaier's correction: the error does not grow with the number of terms.
class Sum {
 public:
  void add(double x);
  double value() const { return sum_ + correction_; }

 private:
  double sum_ = 0;
  double correction_ = 0;
};

/// Mean and sqrt(sample variance / n); error 0 for fewer than two values.
Estimate mean_of(std::span<const double> values);

/// Standard error of a share of n: sqrt(s (1 - s) / (n - 1)), as llama-perplexity prints it.
Estimate share_of(std::uint64_t hits, std::uint64_t n);

/// exp of an estimate, its error by the delta method: exp(x) * error.
Estimate exp_of(const Estimate& log);

/// Root mean square of values; error by the delta method: error of the mean square / (2 rms).
Estimate root_mean_square(std::span<const double> values);

/// Linear interpolation at rank q (n - 1) of the sorted values, NumPy's default. Requires n > 0.
double quantile_sorted(std::span<const double> sorted, double q);

/// Requires values that are not empty.
Quantiles quantiles_of(std::vector<double> values);

}  // namespace mlxmill::evaluate
