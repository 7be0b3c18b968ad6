#include "evaluate/position_score.h"

#include <algorithm>
#include <cmath>
#include <vector>

#include "evaluate/statistics.h"

namespace mlxmill::evaluate {
namespace {

// Unit roundoff of float16, and half its smallest step below 2^-14 (docs/EVALUATION.md).
constexpr double kHalfRelative = 0x1p-11 * (1 + 0x1p-10);
constexpr double kHalfAbsolute = 0x1p-25;

std::int32_t common_tokens(const TopTokens& a, const TopTokens& b) {
  std::int32_t n = 0;
  for (const std::int32_t id : a) {
    n += static_cast<std::int32_t>(id >= 0 && std::find(b.begin(), b.end(), id) != b.end());
  }
  return n;
}

void take_exact(const Distribution& p, const Distribution& q, PositionScore& score) {
  double kl = 0;
  for (std::int64_t i = 0; i < p.vocabulary(); ++i) {
    const auto id = static_cast<std::int32_t>(i);
    if (p.weight(id) == 0) continue;
    kl += p.probability(id) * (p.log_probability(id) - q.log_probability(id));
  }
  // Rounding can leave a negative zero's worth; a divergence is never negative.
  score.kl = score.kl_low = score.kl_high = std::max(kl, 0.0);
}

// Rows rounded to 16 bits: the divergence of what they say, and how far the true one can be.
void take_rounded(const Distribution& p, const Distribution& q, PositionScore& score) {
  double kl = 0;
  double slack = 0;
  const double shift = std::fabs(p.log_sum_exp());
  for (std::int64_t i = 0; i < p.vocabulary(); ++i) {
    const auto id = static_cast<std::int32_t>(i);
    if (p.weight(id) == 0) continue;
    const double probability = p.probability(id);
    const double difference = p.log_probability(id) - q.log_probability(id);
    const double size = std::fabs(static_cast<double>(p.logit(id)));
    const double off = kHalfRelative * size + kHalfAbsolute + shift;
    const double grow = std::expm1(off);
    kl += probability * difference;
    slack += probability * ((grow + 1) * off + grow * std::fabs(difference));
  }
  score.kl = std::max(kl, 0.0);
  score.kl_low = std::max(score.kl - slack, 0.0);
  score.kl_high = score.kl + slack;
}

// The likeliest tokens exactly, the tail from its mass and a sample of it.
void take_top(const ReferenceRow& p, Distribution& q, PositionScore& score) {
  std::vector<std::int32_t> ids;
  ids.reserve(p.kept.size());
  double kept = 0;
  for (const TokenLogit& entry : p.kept) {
    const double log_p = static_cast<double>(entry.logit) - p.log_sum_exp;
    kept += std::exp(log_p) * (log_p - q.log_probability(entry.id));
    ids.push_back(entry.id);
  }
  score.kl = score.kl_low = score.kl_high = std::max(kept, 0.0);
  const Distribution::Tail tail = q.tail(ids);
  if (p.tail_mass == 0 || tail.mass == 0) return;
  const double coarse = kept + p.tail_mass * std::log(p.tail_mass / tail.mass);
  Sum sum;
  Sum squares;
  for (const TokenLogit& entry : p.sample) {
    const double log_p = static_cast<double>(entry.logit) - p.log_sum_exp - std::log(p.tail_mass);
    const double log_q = q.log_probability(entry.id) - std::log(tail.mass);
    const double log_ratio = log_q - log_p;
    const double term = std::expm1(log_ratio) - log_ratio;  // Never negative, mean KL of the tails.
    sum.add(term);
    squares.add(term * term);
  }
  score.kl_low = std::max(coarse, 0.0);
  score.kl_high = std::max(score.kl_low, kept + p.tail_log_sum - p.tail_mass * tail.smallest_log);
  score.kl = score.kl_low;
  if (p.sample.size() < 2) return;
  const auto n = static_cast<double>(p.sample.size());
  const double mean = sum.value() / n;
  score.kl += p.tail_mass * mean;
  const double variance = std::max(squares.value() / n - mean * mean, 0.0) / (n - 1);
  score.sampling_variance = p.tail_mass * p.tail_mass * variance;
}

}  // namespace

Status score_row(std::span<const float> logits, std::int32_t target, Distribution& candidate,
                 PositionScore& score) {
  MLXMILL_TRY(candidate.set(logits));
  score = {};
  score.nll = -candidate.log_probability(target);
  score.top = candidate.top()[0];
  return {};
}

Status score_row(std::span<const float> logits, std::int32_t target, const ReferenceRow& reference,
                 RowScratch& scratch, PositionScore& score) {
  MLXMILL_TRY(score_row(logits, target, scratch.candidate, score));
  score.reference_nll = reference.nll;
  score.reference_top = reference.top[0];
  score.common = common_tokens(reference.top, scratch.candidate.top());
  if (!reference.kept.empty()) {
    take_top(reference, scratch.candidate, score);
    return {};
  }
  MLXMILL_TRY(scratch.reference.set(reference.logits));
  if (reference.rounded) {
    take_rounded(scratch.reference, scratch.candidate, score);
  } else {
    take_exact(scratch.reference, scratch.candidate, score);
  }
  return {};
}

}  // namespace mlxmill::evaluate
