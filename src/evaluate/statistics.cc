#include "evaluate/statistics.h"

#include <algorithm>
#include <cmath>

namespace mlxmill::evaluate {

void Sum::add(double x) {
  const double next = sum_ + x;
  correction_ += std::fabs(sum_) >= std::fabs(x) ? (sum_ - next) + x : (x - next) + sum_;
  sum_ = next;
}

Estimate mean_of(std::span<const double> values) {
  if (values.empty()) return {};
  const auto n = static_cast<double>(values.size());
  Sum sum;
  for (const double v : values) sum.add(v);
  const double mean = sum.value() / n;
  if (values.size() < 2) return {mean, 0};
  Sum squares;
  for (const double v : values) squares.add((v - mean) * (v - mean));
  return {mean, std::sqrt(squares.value() / (n - 1) / n)};
}

Estimate share_of(std::uint64_t hits, std::uint64_t n) {
  if (n == 0) return {};
  const double share = static_cast<double>(hits) / static_cast<double>(n);
  if (n < 2) return {share, 0};
  return {share, std::sqrt(share * (1 - share) / static_cast<double>(n - 1))};
}

Estimate exp_of(const Estimate& log) {
  const double value = std::exp(log.value);
  return {value, value * log.error};
}

Estimate root_mean_square(std::span<const double> values) {
  std::vector<double> squares(values.size());
  std::transform(values.begin(), values.end(), squares.begin(), [](double v) { return v * v; });
  const Estimate mean = mean_of(squares);
  const double rms = std::sqrt(mean.value);
  return {rms, rms > 0 ? mean.error / (2 * rms) : 0};
}

double quantile_sorted(std::span<const double> sorted, double q) {
  const double rank = q * static_cast<double>(sorted.size() - 1);
  const auto below = static_cast<std::size_t>(rank);
  if (below + 1 >= sorted.size()) return sorted.back();
  const double part = rank - static_cast<double>(below);
  return sorted[below] + part * (sorted[below + 1] - sorted[below]);
}

Quantiles quantiles_of(std::vector<double> values) {
  std::sort(values.begin(), values.end());
  const auto at = [&](double q) { return quantile_sorted(values, q); };
  Quantiles result;
  result.min = values.front();
  result.p001 = at(0.001);
  result.p01 = at(0.01);
  result.p05 = at(0.05);
  result.p25 = at(0.25);
  result.median = at(0.5);
  result.p75 = at(0.75);
  result.p90 = at(0.90);
  result.p95 = at(0.95);
  result.p99 = at(0.99);
  result.p999 = at(0.999);
  result.max = values.back();
  return result;
}

}  // namespace mlxmill::evaluate
