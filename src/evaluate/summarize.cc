// From positions to the numbers people read.
#include <algorithm>
#include <cmath>
#include <numeric>

#include "evaluate/position_score.h"
#include "evaluate/statistics.h"

namespace mlxmill::evaluate {
namespace {

template <typename Take>
std::vector<double> each(std::span<const PositionScore> scores, Take take) {
  std::vector<double> values(scores.size());
  std::transform(scores.begin(), scores.end(), values.begin(), take);
  return values;
}

Comparison compare(std::span<const PositionScore> scores) {
  Comparison c;
  const auto n = static_cast<double>(scores.size());
  c.reference_perplexity =
      exp_of(mean_of(each(scores, [](const PositionScore& s) { return s.reference_nll; })));
  // The paired difference has the variance var(a) + var(b) - 2 cov(a, b), which is llama.cpp's.
  c.log_perplexity_ratio =
      mean_of(each(scores, [](const PositionScore& s) { return s.nll - s.reference_nll; }));
  c.perplexity_ratio = exp_of(c.log_perplexity_ratio);
  std::vector<double> kl = each(scores, [](const PositionScore& s) { return s.kl; });
  c.kl = mean_of(kl);
  c.kl_low = mean_of(each(scores, [](const PositionScore& s) { return s.kl_low; })).value;
  c.kl_high = mean_of(each(scores, [](const PositionScore& s) { return s.kl_high; })).value;
  Sum variance;
  for (const PositionScore& s : scores) variance.add(s.sampling_variance);
  c.kl_sampling_error = std::sqrt(variance.value()) / n;
  c.kl_quantiles = quantiles_of(std::move(kl));
  const auto same = std::count_if(scores.begin(), scores.end(),
                                  [](const PositionScore& s) { return s.top == s.reference_top; });
  c.same_top = share_of(static_cast<std::uint64_t>(same), scores.size());
  c.top5_overlap = mean_of(each(scores, [](const PositionScore& s) {
    return static_cast<double>(s.common) / static_cast<double>(kTopTokens);
  }));
  std::vector<double> change = each(
      scores, [](const PositionScore& s) { return std::exp(-s.nll) - std::exp(-s.reference_nll); });
  c.probability_change = mean_of(change);
  c.probability_rms = root_mean_square(change);
  c.probability_quantiles = quantiles_of(std::move(change));
  return c;
}

}  // namespace

EvalScores summarize(std::span<const PositionScore> scores, bool compared) {
  EvalScores result;
  result.positions = scores.size();
  result.nll = mean_of(each(scores, [](const PositionScore& s) { return s.nll; }));
  result.perplexity = exp_of(result.nll);
  if (compared) result.comparison = compare(scores);
  return result;
}

std::vector<KlBin> kl_histogram(std::span<const PositionScore> scores) {
  constexpr int kPerDecade = 2;
  constexpr int kFirst = -6;
  constexpr int kBins = 16;  // Below 1e-6, fourteen of half a decade, 10 and more.
  std::vector<KlBin> bins(kBins);
  const auto edge = [](int i) {
    return std::pow(10.0, kFirst + static_cast<double>(i) / kPerDecade);
  };
  for (int i = 0; i < kBins; ++i) {
    bins[static_cast<std::size_t>(i)].low = i == 0 ? 0 : edge(i - 1);
    bins[static_cast<std::size_t>(i)].high = i + 1 == kBins ? HUGE_VAL : edge(i);
  }
  for (const PositionScore& s : scores) {
    const auto bin =
        std::find_if(bins.begin(), bins.end() - 1, [&](const KlBin& b) { return s.kl < b.high; });
    ++bin->positions;
  }
  return bins;
}

std::vector<std::size_t> worst_positions(std::span<const PositionScore> scores, std::size_t n) {
  std::vector<std::size_t> order(scores.size());
  std::iota(order.begin(), order.end(), std::size_t{0});
  n = std::min(n, order.size());
  std::partial_sort(order.begin(), order.begin() + static_cast<std::ptrdiff_t>(n), order.end(),
                    [&](std::size_t a, std::size_t b) {
                      return scores[a].kl > scores[b].kl || (scores[a].kl == scores[b].kl && a < b);
                    });
  order.resize(n);
  return order;
}

}  // namespace mlxmill::evaluate
