// Choosing the next token.
#pragma once

#include <random>
#include <span>

#include "mlxmill/result.h"
#include "mlxmill/sampling.h"

namespace mlxmill::generate {

/// Draws tokens from logits. Threads: one at a time.
class Sampler {
 public:
  /// Errors: kUsage for a value outside of its range, named as the program's flag.
  static Result<Sampler> create(SamplingOptions options, int vocabulary_size);

  /// Bias and penalties, in place. `logits` [vocabulary]; `history`: all tokens so far, prompt
  /// included, of which the last ones count.
  void penalize(std::span<float> logits, std::span<const int> history) const;

  /// The likeliest token at temperature 0; else one drawn from what the filters (nucleus, min-p,
  /// XTC, top-k, in this order) leave of the distribution at temperature 1, tempered after them.
  /// `logits` [vocabulary] are overwritten. Errors: kInvalidInput when they hold NaN, or nothing
  /// finite.
  Result<int> draw(std::span<float> logits);

  /// What the filters without chance do to log-probabilities: those left out become -infinity.
  void filter(std::span<float> log_probabilities);

 private:
  Sampler(SamplingOptions options, int vocabulary_size)
      : options_(std::move(options)), size_(vocabulary_size), random_(options_.seed) {}

  double uniform();
  void exclude_top_choices(std::span<float> log_probabilities) const;

  SamplingOptions options_;
  int size_;
  std::mt19937_64 random_;
  std::vector<float> sorted_;
};

/// logits - log(sum(exp(logits))), in place, summed in double.
void to_log_probabilities(std::span<float> logits);

}  // namespace mlxmill::generate
