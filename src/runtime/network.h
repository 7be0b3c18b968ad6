// A whole model as blocks over arrays.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "architectures/forward/forward.h"
#include "runtime/block.h"
#include "runtime/weights.h"

namespace mlxmill::runtime {

/// The memory of all blocks, layer by layer; null for blocks without.
using States = std::vector<std::unique_ptr<State>>;

class Network {
 public:
  /// Errors: kInvalidInput for weights that are not there.
  static Result<Network> build(const architectures::Forward& forward, const Weights& weights);

  /// Runs tokens at positions [offset, offset + ids.size()). Float32 logits [n, vocabulary] of all
  /// of them or of the last one, not evaluated.
  mx::array run(std::span<const std::int32_t> ids, int offset, States& states, bool all) const;
  /// The same without logits: what remains is in the states.
  void advance(std::span<const std::int32_t> ids, int offset, States& states) const;

  States new_states(const StateOptions& options) const;

  mx::Dtype float_type() const { return float_type_; }

 private:
  struct Step {
    Norm pre;
    BlockPointer block;
    Norm post;
    double scale = 1;
    double keep = 1;
    bool keeps_normed = false;
    bool parallel = false;
    std::optional<mx::array> scaled_by;
  };

  Network(const architectures::Forward& forward, Linear embedding, Linear head)
      : forward_(forward), embedding_(std::move(embedding)), head_(std::move(head)) {}

  mx::array embed(const mx::array& ids, int offset) const;
  mx::array layers(std::span<const std::int32_t> ids, int offset, States& states) const;

  architectures::Forward forward_;  ///< Its layers are taken out: `steps_` stand for them.
  Linear embedding_;
  Linear head_;
  std::optional<Linear> positions_;
  Norm embedding_norm_, norm_;
  std::vector<std::vector<Step>> steps_;
  mx::Dtype float_type_ = mx::bfloat16;
};

}  // namespace mlxmill::runtime
