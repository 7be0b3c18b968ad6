// What is kept of each scored position.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "evaluate/distribution.h"
#include "evaluate/reference_row.h"
#include "mlxmill/evaluate.h"
#include "mlxmill/result.h"

namespace mlxmill::evaluate {

/// One position of one candidate. Divergences in nats.
struct PositionScore {
  double nll = 0;            ///< -log p of the right token.
  double reference_nll = 0;  ///< The reference's; this and all below only with a reference.
  double kl = 0;             ///< KL(reference || candidate), as good as the row allows.
  double kl_low = 0;         ///< It lies in [kl_low, kl_high] for certain.
  double kl_high = 0;
  double sampling_variance = 0;  ///< Of kl, from the sample of the tail.
  std::int32_t top = -1;         ///< The candidate's likeliest token.
  std::int32_t reference_top = -1;
  std::int32_t common = 0;  ///< How many of the five likeliest tokens both have.

  friend bool operator==(const PositionScore&, const PositionScore&) = default;
};

/// Scores one row without a reference. Errors: those of Distribution::set.
Status score_row(std::span<const float> logits, std::int32_t target, Distribution& candidate,
                 PositionScore& score);

/// Buffers of one worker.
struct RowScratch {
  Distribution candidate;
  Distribution reference;
};

/// Scores one row against the reference's. Requires the row's vocabulary to be logits.size().
/// Numerics: KL is 0 exactly for equal rows, except for rounded ones.
Status score_row(std::span<const float> logits, std::int32_t target, const ReferenceRow& reference,
                 RowScratch& scratch, PositionScore& score);

/// The statistics of a set of positions. Requires scores that are not empty.
EvalScores summarize(std::span<const PositionScore> scores, bool compared);

/// Positions in bins of equal width in log10 of KL, two to a decade from 1e-6 to 10.
std::vector<KlBin> kl_histogram(std::span<const PositionScore> scores);

/// Indices of the n positions of largest KL, largest first; of equals the earlier one.
std::vector<std::size_t> worst_positions(std::span<const PositionScore> scores, std::size_t n);

}  // namespace mlxmill::evaluate
