#include <type_traits>
#include <variant>

#include "runtime/block.h"

namespace mlxmill::runtime {
namespace {

using namespace architectures;

struct Maker {
  const Weights& weights;

  Result<BlockPointer> operator()(const AttentionSpec& spec) const {
    return make_attention(spec, weights);
  }
  Result<BlockPointer> operator()(const MlpSpec& spec) const { return make_mlp(spec, weights); }
  Result<BlockPointer> operator()(const MoeSpec& spec) const { return make_moe(spec, weights); }
};

struct StateBytes {
  const StateOptions& options;
  std::int64_t tokens;

  std::uint64_t operator()(const AttentionSpec& spec) const {
    return state_bytes(spec, options, tokens);
  }
  std::uint64_t operator()(const MlpSpec&) const { return 0; }
  std::uint64_t operator()(const MoeSpec&) const { return 0; }
};

}  // namespace

std::uint64_t state_bytes(const Forward& forward, const StateOptions& options,
                          std::int64_t tokens) {
  std::uint64_t total = 0;
  for (const LayerSpec& layer : forward.layers) {
    for (const StepSpec& step : layer) total += std::visit(StateBytes{options, tokens}, step.block);
  }
  return total;
}

Result<BlockPointer> make_block(const BlockSpec& spec, const Weights& weights) {
  return std::visit(Maker{weights}, spec);
}

}  // namespace mlxmill::runtime
