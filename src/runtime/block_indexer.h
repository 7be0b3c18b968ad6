// Sparse attention's choice of blocks of keys (MiniMax M3).
#pragma once

#include <optional>

#include "architectures/forward/blocks.h"
#include "runtime/weights.h"

namespace mlxmill::runtime {

class BlockIndexer {
 public:
  static Result<BlockIndexer> build(const architectures::BlockIndexerSpec& spec,
                                    const Weights& weights);

  /// What is remembered of x [1, length, hidden]: [1, 1, length, dim].
  mx::array keys(const mx::array& x, int offset) const;

  /// Masks [heads, length, n]: of those that `mask` [length, n] lets a token see, the keys in its
  /// best blocks. `keys` [1, 1, n, dim] are those of all positions. Empty where no token has more
  /// blocks than it may see.
  std::optional<mx::array> narrowed(const std::optional<mx::array>& mask, const mx::array& x,
                                    const mx::array& keys, int offset) const;

 private:
  BlockIndexer(const architectures::BlockIndexerSpec& spec, Linear q, Linear k)
      : spec_(spec), q_(std::move(q)), k_(std::move(k)), rope_(spec.rope) {}

  architectures::BlockIndexerSpec spec_;
  Linear q_, k_;
  Norm q_norm_, k_norm_;
  Rope rope_;
};

}  // namespace mlxmill::runtime
