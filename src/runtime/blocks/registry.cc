#include <variant>

#include "runtime/block.h"

namespace mlxmill::runtime {

Result<BlockPointer> make_block(const architectures::BlockSpec& spec, const Weights& weights) {
  return std::visit([&](const auto& kind) { return make_block(kind, weights); }, spec);
}

std::uint64_t state_bytes(const architectures::Forward& forward, const StateOptions& options,
                          std::int64_t tokens) {
  std::uint64_t total = 0;
  for (const architectures::LayerSpec& layer : forward.layers) {
    for (const architectures::StepSpec& step : layer) {
      total += std::visit([&](const auto& kind) { return state_bytes(kind, options, tokens); },
                          step.block);
    }
  }
  return total;
}

}  // namespace mlxmill::runtime
