// A block of the forward pass, built from its evaluated declaration.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <tuple>
#include <utility>

#include "architectures/forward/forward.h"
#include "runtime/state.h"
#include "runtime/weights.h"

namespace mlxmill::runtime {

/// One run of all layers over some tokens of one sequence.
struct Pass {
  int offset = 0;  ///< Position of the first token.
  int length = 0;
  std::int64_t layer = 0;          ///< The one that is running.
  State* state = nullptr;          ///< Of the block that is running; null for one without.
  const mx::array* ids = nullptr;  ///< Token ids [1, length].
  /// Keys and values by layer, for layers that share them.
  std::map<std::int64_t, KeysValues> shared;
  /// What the last attention with keys of its own projected: keys, and values if any.
  std::optional<std::pair<mx::array, std::optional<mx::array>>> projected;
  std::optional<mx::array> first_values;  ///< [1, length, heads, size], of the first time mix.
  std::optional<mx::array> layer_inputs;  ///< [1, length, layers, size], where a block makes them.
  std::optional<mx::array> streams;       ///< [1, length, streams, hidden], of alternating updates.
  /// Masks [length, keys] by offset, window, chunk and number of keys; empty: every key is seen.
  std::map<std::tuple<int, std::int64_t, std::int64_t, int>, std::optional<mx::array>> masks;
};

class Block {
 public:
  virtual ~Block() = default;
  /// x [1, length, hidden] to the same shape.
  virtual mx::array run(const mx::array& x, Pass& pass) const = 0;
  /// A fresh memory; null for blocks without.
  virtual std::unique_ptr<State> new_state(const StateOptions& /*options*/) const {
    return nullptr;
  }
};

using BlockPointer = std::unique_ptr<const Block>;

/// Builds any block. Errors: kInvalidInput for weights that are not there.
Result<BlockPointer> make_block(const architectures::BlockSpec& spec, const Weights& weights);

/// Bytes that the memory of all blocks takes after `tokens` tokens of one sequence.
std::uint64_t state_bytes(const architectures::Forward& forward, const StateOptions& options,
                          std::int64_t tokens);

// Each kind has this, in its file in blocks/.
Result<BlockPointer> make_block(const architectures::AttentionSpec& spec, const Weights& weights);
Result<BlockPointer> make_block(const architectures::LatentAttentionSpec& spec,
                                const Weights& weights);
Result<BlockPointer> make_block(const architectures::LinearSpec& spec, const Weights& weights);
Result<BlockPointer> make_block(const architectures::DeltaNetSpec& spec, const Weights& weights);
Result<BlockPointer> make_block(const architectures::Mamba2Spec& spec, const Weights& weights);
Result<BlockPointer> make_block(const architectures::MambaSpec& spec, const Weights& weights);
Result<BlockPointer> make_block(const architectures::ShortConvSpec& spec, const Weights& weights);
Result<BlockPointer> make_block(const architectures::TimeMixSpec& spec, const Weights& weights);
Result<BlockPointer> make_block(const architectures::ChannelMixSpec& spec, const Weights& weights);
Result<BlockPointer> make_block(const architectures::PerLayerInputsSpec& spec,
                                const Weights& weights);
Result<BlockPointer> make_block(const architectures::PerLayerGateSpec& spec,
                                const Weights& weights);
Result<BlockPointer> make_block(const architectures::LaurelSpec& spec, const Weights& weights);
Result<BlockPointer> make_block(const architectures::AltUpSpec& spec, const Weights& weights);
Result<BlockPointer> make_block(const architectures::MlpSpec& spec, const Weights& weights);
Result<BlockPointer> make_block(const architectures::MoeSpec& spec, const Weights& weights);

}  // namespace mlxmill::runtime
