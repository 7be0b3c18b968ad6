// Guesses of a smaller model, and the logits of the model they are made for.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <vector>

#include "generate/sampler.h"
#include "mlxmill/run.h"

namespace mlxmill::generate {

/// The likeliest tokens after a text, by a model of its own. Threads: one at a time.
class Drafter {
 public:
  explicit Drafter(const Model& model) : model_(model), cache_(model.new_cache()) {}

  /// At most `most` tokens that follow `history`, penalized as those of `sampler`, of which ids are
  /// below `id_limit`. Errors: kUnsupported for a model that cannot forget tokens; those of
  /// Model::run.
  Result<std::vector<int>> guess(std::span<const int> history, std::int64_t most, int id_limit,
                                 const Sampler& sampler);

 private:
  const Model& model_;
  ModelCache cache_;
  std::vector<int> seen_;  // What the cache holds.
};

/// Logits of what follows a growing text. With a draft model several tokens are guessed and run at
/// once; the rows behind right guesses are kept for when they are asked for (Leviathan et al. 2023;
/// as guesses are no chances, what is drawn does not depend on them).
class NextLogits {
 public:
  /// `draft`: null for none; at most `guesses` tokens are guessed at once. All must live as long.
  NextLogits(const Model& model, ModelCache& cache, const Model* draft, std::int64_t guesses);

  /// Logits [vocabulary] of the token after `history`, which is that of the call before and the
  /// token that was drawn; may be written to. `room`: tokens that may follow at most, 1 or more.
  /// Errors: kUnsupported when the model cannot forget guesses; those of Model::run.
  Result<std::span<float>> after(std::span<const int> history, std::int64_t room,
                                 const Sampler& sampler);

  /// Leaves nothing in the cache that is not of `history`. Errors: as after().
  Status finish(std::span<const int> history);

  /// How many tokens were right guesses.
  std::size_t right_guesses() const { return right_; }

 private:
  std::span<float> row(std::size_t position);
  bool guessed(std::span<const int> history) const;

  const Model& model_;
  ModelCache& cache_;
  std::optional<Drafter> drafter_;
  std::int64_t most_guesses_;
  Logits logits_;
  std::vector<int> guesses_;  // Tokens after those of the first row.
  std::size_t first_ = 0;     // Tokens before the first row.
  std::size_t right_ = 0;
};

}  // namespace mlxmill::generate
