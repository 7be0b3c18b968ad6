#include "runtime/mlp.h"

#include "runtime/block.h"

namespace mlxmill::runtime {

Result<Mlp> Mlp::build(const architectures::MlpSpec& spec, const Weights& weights) {
  MLXMILL_ASSIGN(Linear down, weights.linear(spec.down));
  Mlp mlp(std::move(down), spec.activation);
  mlp.up_first_ = spec.up_first;
  if (!spec.gate_up.empty()) {
    MLXMILL_ASSIGN(mlp.gate_up_, weights.linear(spec.gate_up));
  } else {
    MLXMILL_ASSIGN(mlp.up_, weights.linear(spec.up));
  }
  if (!spec.gate.empty()) {
    MLXMILL_ASSIGN(mlp.gate_, weights.linear(spec.gate));
  }
  return mlp;
}

mx::array Mlp::operator()(const mx::array& x) const {
  if (gate_up_) {
    const auto parts = mx::split(apply(*gate_up_, x), 2, -1);
    return apply(down_, gated(activation_, parts[up_first_ ? 1 : 0], parts[up_first_ ? 0 : 1]));
  }
  const mx::array up = apply(*up_, x);
  return apply(down_, gate_ ? gated(activation_, apply(*gate_, x), up) : activate(activation_, up));
}

namespace {

class MlpBlock final : public Block {
 public:
  explicit MlpBlock(Mlp mlp) : mlp_(std::move(mlp)) {}
  mx::array run(const mx::array& x, Pass& /*pass*/) const override { return mlp_(x); }

 private:
  Mlp mlp_;
};

}  // namespace

Result<BlockPointer> make_block(const architectures::MlpSpec& spec, const Weights& weights) {
  MLXMILL_ASSIGN(Mlp mlp, Mlp::build(spec, weights));
  return BlockPointer(std::make_unique<MlpBlock>(std::move(mlp)));
}

}  // namespace mlxmill::runtime
