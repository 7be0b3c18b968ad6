#include "evaluate/distribution.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <numeric>

namespace mlxmill::evaluate {
namespace {

// Sums in flight: the additions do not wait for each other, in an order that is always the same.
constexpr std::size_t kLanes = 8;

Status check_finite(std::span<const float> logits) {
  for (std::size_t i = 0; i < logits.size(); ++i) {
    if (std::isfinite(logits[i])) continue;
    const char* what = std::isnan(logits[i]) ? "NaN" : "infinite";
    return Error(Code::kNonFinite, fmt::format("the logit of token {} is {}", i, what));
  }
  return {};
}

TopTokens top_of(std::span<const float> logits) {
  TopTokens top;
  top.fill(-1);
  for (std::size_t i = 0; i < logits.size(); ++i) {
    std::size_t place = kTopTokens;
    while (place > 0) {
      const std::int32_t above = top[place - 1];
      if (above >= 0 && logits[static_cast<std::size_t>(above)] >= logits[i]) break;
      --place;
    }
    if (place == kTopTokens) continue;
    for (std::size_t p = kTopTokens - 1; p > place; --p) top[p] = top[p - 1];
    top[place] = static_cast<std::int32_t>(i);
  }
  return top;
}

}  // namespace

Status Distribution::set(std::span<const float> logits) {
  if (logits.empty()) return Error(Code::kInvalidInput, "a row of logits is empty");
  logits_ = logits;
  MLXMILL_TRY(check_finite(logits));
  const auto largest = static_cast<double>(*std::max_element(logits.begin(), logits.end()));
  weights_.resize(logits.size());
  excluded_.assign(logits.size(), false);
  std::array<double, kLanes> lanes{};
  for (std::size_t i = 0; i < logits.size(); ++i) {
    weights_[i] = std::exp(static_cast<double>(logits[i]) - largest);
    lanes[i % kLanes] += weights_[i];
  }
  total_ = std::accumulate(lanes.begin(), lanes.end(), 0.0);
  log_sum_exp_ = largest + std::log(total_);
  top_ = top_of(logits);
  return {};
}

Distribution::Tail Distribution::tail(std::span<const std::int32_t> ids) {
  for (const std::int32_t id : ids) excluded_[static_cast<std::size_t>(id)] = true;
  Tail tail;
  bool any = false;
  double mass = 0;
  double log_sum = 0;
  float smallest = 0;
  for (std::size_t i = 0; i < weights_.size(); ++i) {
    if (excluded_[i]) continue;
    mass += weights_[i];
    log_sum += weights_[i] * (static_cast<double>(logits_[i]) - log_sum_exp_);
    if (!any || logits_[i] < smallest) smallest = logits_[i];
    any = true;
  }
  for (const std::int32_t id : ids) excluded_[static_cast<std::size_t>(id)] = false;
  tail.mass = mass / total_;
  tail.log_sum = log_sum / total_;
  tail.smallest_log = any ? static_cast<double>(smallest) - log_sum_exp_ : 0;
  return tail;
}

std::vector<std::int32_t> Distribution::sample_tail(std::span<const std::int32_t> ids,
                                                    std::size_t n, double offset) {
  for (const std::int32_t id : ids) excluded_[static_cast<std::size_t>(id)] = true;
  double mass = 0;
  std::int32_t last = -1;
  for (std::size_t i = 0; i < weights_.size(); ++i) {
    if (excluded_[i] || weights_[i] == 0) continue;
    mass += weights_[i];
    last = static_cast<std::int32_t>(i);
  }
  std::vector<std::int32_t> drawn;
  double reached = 0;
  for (std::size_t i = 0; last >= 0 && i < weights_.size() && drawn.size() < n; ++i) {
    if (excluded_[i]) continue;
    reached += weights_[i];
    while (drawn.size() < n && weights_[i] > 0 &&
           (static_cast<double>(drawn.size()) + offset) / static_cast<double>(n) * mass < reached) {
      drawn.push_back(static_cast<std::int32_t>(i));
    }
  }
  while (last >= 0 && drawn.size() < n) drawn.push_back(last);
  for (const std::int32_t id : ids) excluded_[static_cast<std::size_t>(id)] = false;
  return drawn;
}

std::vector<std::int32_t> likeliest(std::span<const float> logits, std::size_t k) {
  std::vector<std::int32_t> ids(logits.size());
  std::iota(ids.begin(), ids.end(), 0);
  const auto before = [&](std::int32_t a, std::int32_t b) {
    const float x = logits[static_cast<std::size_t>(a)];
    const float y = logits[static_cast<std::size_t>(b)];
    return x > y || (x == y && a < b);
  };
  const auto end = ids.begin() + static_cast<std::ptrdiff_t>(k);
  std::nth_element(ids.begin(), end - (k > 0 ? 1 : 0), ids.end(), before);
  std::sort(ids.begin(), end, before);
  ids.resize(k);
  return ids;
}

}  // namespace mlxmill::evaluate
