// Inputs that every layer has for itself, and residuals of low rank.
#include "runtime/per_layer.h"
#include "runtime/block.h"

namespace mlxmill::runtime {

Result<PerLayerGate> PerLayerGate::build(const architectures::PerLayerGateSpec& spec,
                                         const Weights& weights) {
  MLXMILL_ASSIGN(Linear gate, weights.linear(spec.gate));
  MLXMILL_ASSIGN(Linear projection, weights.linear(spec.projection));
  return PerLayerGate(std::move(gate), std::move(projection), spec.activation);
}

mx::array PerLayerGate::operator()(const mx::array& x, const Pass& pass) const {
  const mx::array own = mx::take(*pass.layer_inputs, static_cast<int>(pass.layer), 2);
  return apply(projection_, gated(activation_, apply(gate_, x), own));
}

namespace {

using architectures::LaurelSpec;
using architectures::PerLayerInputsSpec;

class PerLayerInputs final : public Block {
 public:
  PerLayerInputs(const PerLayerInputsSpec& spec, Linear embedding, Linear projection, Norm norm)
      : spec_(spec),
        embedding_(std::move(embedding)),
        projection_(std::move(projection)),
        norm_(std::move(norm)) {}

  mx::array run(const mx::array& x, Pass& pass) const override {
    const mx::Shape shape{1, pass.length, static_cast<int>(spec_.layers),
                          static_cast<int>(spec_.size)};
    const mx::array limit(static_cast<int>(spec_.vocabulary));
    const mx::array ids =
        mx::where(mx::less(*pass.ids, limit), *pass.ids, mx::zeros_like(*pass.ids));
    const mx::array of_token = mx::reshape(rows(embedding_, ids, x.dtype()), shape);
    mx::array of_vector = apply(projection_, x);
    of_vector = mx::multiply(of_vector, scalar(spec_.projection_scale, x));
    of_vector = norm_(mx::reshape(of_vector, shape));
    const mx::array sum =
        mx::add(of_vector, mx::multiply(of_token, scalar(spec_.embedding_scale, x)));
    pass.layer_inputs = mx::multiply(sum, scalar(spec_.scale, x));
    return x;
  }

 private:
  PerLayerInputsSpec spec_;
  Linear embedding_, projection_;
  Norm norm_;
};

class PerLayerGateBlock final : public Block {
 public:
  explicit PerLayerGateBlock(PerLayerGate gate) : gate_(std::move(gate)) {}
  mx::array run(const mx::array& x, Pass& pass) const override { return gate_(x, pass); }

 private:
  PerLayerGate gate_;
};

class Laurel final : public Block {
 public:
  Laurel(Linear left, Linear right, Norm norm)
      : left_(std::move(left)), right_(std::move(right)), norm_(std::move(norm)) {}
  mx::array run(const mx::array& x, Pass& /*pass*/) const override {
    return mx::add(x, norm_(apply(right_, apply(left_, x))));
  }

 private:
  Linear left_, right_;
  Norm norm_;
};

}  // namespace

Result<BlockPointer> make_block(const PerLayerInputsSpec& spec, const Weights& weights) {
  MLXMILL_ASSIGN(Linear embedding, weights.linear(spec.embedding));
  MLXMILL_ASSIGN(Linear projection, weights.linear(spec.projection));
  MLXMILL_ASSIGN(Norm norm, weights.norm(spec.norm));
  if (embedding.outputs() < spec.vocabulary) {
    return Error(Code::kInvalidInput, spec.embedding + " has fewer rows than tokens it is for");
  }
  return BlockPointer(std::make_unique<PerLayerInputs>(spec, std::move(embedding),
                                                       std::move(projection), std::move(norm)));
}

Result<BlockPointer> make_block(const architectures::PerLayerGateSpec& spec,
                                const Weights& weights) {
  MLXMILL_ASSIGN(PerLayerGate gate, PerLayerGate::build(spec, weights));
  return BlockPointer(std::make_unique<PerLayerGateBlock>(std::move(gate)));
}

Result<BlockPointer> make_block(const LaurelSpec& spec, const Weights& weights) {
  MLXMILL_ASSIGN(Linear left, weights.linear(spec.left));
  MLXMILL_ASSIGN(Linear right, weights.linear(spec.right));
  MLXMILL_ASSIGN(Norm norm, weights.norm(spec.norm));
  return BlockPointer(std::make_unique<Laurel>(std::move(left), std::move(right), std::move(norm)));
}

}  // namespace mlxmill::runtime
