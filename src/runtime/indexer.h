// Sparse attention's choice of keys (DeepSeek V3.2).
#pragma once

#include <optional>

#include "architectures/forward/blocks.h"
#include "runtime/weights.h"

namespace mlxmill::runtime {

class Indexer {
 public:
  static Result<Indexer> build(const architectures::IndexerSpec& spec, const Weights& weights);

  /// What is remembered of x [1, length, hidden]: [1, 1, length, dim].
  mx::array keys(const mx::array& x, int offset) const;

  /// Narrows `mask` [length, n] to the best keys of [1, 1, n, dim] for each token; as it is where
  /// there are no more than those. `latent` is the normed output of q_a, [1, length, rank].
  std::optional<mx::array> narrowed(const std::optional<mx::array>& mask, const mx::array& x,
                                    const mx::array& latent, const mx::array& keys,
                                    int offset) const;

 private:
  Indexer(const architectures::IndexerSpec& spec, Linear q, Linear k, Linear weights)
      : spec_(spec),
        q_(std::move(q)),
        k_(std::move(k)),
        weights_(std::move(weights)),
        rope_(spec.rope) {}

  architectures::IndexerSpec spec_;
  Linear q_, k_, weights_;
  Norm k_norm_;
  Rope rope_;
};

}  // namespace mlxmill::runtime
