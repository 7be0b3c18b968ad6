#include <variant>

#include "runtime/block.h"

namespace mlxmill::runtime {

Result<BlockPointer> make_block(const architectures::BlockSpec& spec, const Weights& weights) {
  return std::visit([&](const auto& kind) { return make_block(kind, weights); }, spec);
}

std::uint64_t state_bytes(const architectures::Forward& forward, const StateOptions& options,
                          std::int64_t tokens) {
  return architectures::state_bytes(forward, state_format(options), tokens);
}

}  // namespace mlxmill::runtime
