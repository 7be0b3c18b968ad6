// One row of logits as a probability distribution.
#pragma once

#include <array>
#include <cstdint>
#include <span>
#include <vector>

#include "mlxmill/result.h"

namespace mlxmill::evaluate {

/// How many of the likeliest tokens are compared.
inline constexpr std::size_t kTopTokens = 5;
using TopTokens = std::array<std::int32_t, kTopTokens>;

/// Softmax of float32 logits in double. The buffer is reused from row to row.
class Distribution {
 public:
  /// Shapes logits [vocabulary], which must outlive the next calls. Errors: kNonFinite naming the
  /// token of the first NaN or infinite logit.
  Status set(std::span<const float> logits);

  std::int64_t vocabulary() const { return static_cast<std::int64_t>(logits_.size()); }
  std::span<const float> logits() const { return logits_; }
  float logit(std::int32_t id) const { return logits_[static_cast<std::size_t>(id)]; }
  /// log of the sum of exp over all logits.
  double log_sum_exp() const { return log_sum_exp_; }
  double log_probability(std::int32_t id) const {
    return static_cast<double>(logit(id)) - log_sum_exp_;
  }
  double probability(std::int32_t id) const { return weight(id) / total_; }

  /// exp(logit - largest logit), and the sum of all of them.
  double weight(std::int32_t id) const { return weights_[static_cast<std::size_t>(id)]; }
  double total() const { return total_; }

  /// The likeliest tokens, likeliest first; of equals the smaller id, as argmax has it. -1 past the
  /// end of a smaller vocabulary.
  const TopTokens& top() const { return top_; }

  /// The probability of all tokens but `ids`, which are excluded from the row's sum one by one and
  /// not subtracted: a small tail keeps its digits. `ids` must be different.
  struct Tail {
    double mass = 0;
    double log_sum = 0;       ///< Sum of p log p over the tail.
    double smallest_log = 0;  ///< The smallest log p of the tail; 0 when it is empty.
  };
  Tail tail(std::span<const std::int32_t> ids);

  /// Tokens drawn from the tail in proportion to their probability, by systematic sampling: at
  /// (j + offset) / n of its mass, for 0 <= j < n. Requires 0 <= offset < 1 and `ids` as for
  /// tail().
  std::vector<std::int32_t> sample_tail(std::span<const std::int32_t> ids, std::size_t n,
                                        double offset);

 private:
  std::span<const float> logits_;
  std::vector<double> weights_;
  std::vector<bool> excluded_;
  double total_ = 0;
  double log_sum_exp_ = 0;
  TopTokens top_{};
};

/// The k likeliest tokens of a row, ordered as Distribution::top(). k is at most the vocabulary.
std::vector<std::int32_t> likeliest(std::span<const float> logits, std::size_t k);

}  // namespace mlxmill::evaluate
