#include "runtime/mlp.h"

#include <cmath>
#include <numbers>

#include "runtime/block.h"
#include "runtime/views.h"

namespace mlxmill::runtime {
namespace {

/// The x below which a part p of the normal distribution lies, by bisection.
double normal_quantile(double p) {
  double low = -10;
  double high = 10;
  for (int i = 0; i < 100; ++i) {
    const double middle = (low + high) / 2;
    (std::erfc(-middle / std::numbers::sqrt2) / 2 < p ? low : high) = middle;
  }
  return low;
}

}  // namespace

mx::array gated(const architectures::MlpSpec& spec, const mx::array& gate, const mx::array& up) {
  return spec.clamp == 0 ? gated(spec.activation, gate, up, spec.limit)
                         : gated_clamped(gate, up, spec.clamp, spec.alpha);
}

Result<Mlp> Mlp::build(const architectures::MlpSpec& spec, const Weights& weights) {
  MLXMILL_ASSIGN(Linear down, weights.linear(spec.down));
  Mlp mlp(spec, std::move(down));
  if (!spec.xielu.empty()) {
    for (const char* name : {".alpha_p", ".alpha_n", ".beta", ".eps"}) {
      MLXMILL_ASSIGN(mx::array number, weights.tensor(spec.xielu + name));
      mlp.xielu_.push_back(std::move(number));
    }
    mlp.xielu_[0] = activate(Activation::kSoftplus, mlp.xielu_[0]);
    mlp.xielu_[1] = mx::add(mlp.xielu_[2], activate(Activation::kSoftplus, mlp.xielu_[1]));
    mx::eval(mlp.xielu_);
  }
  if (spec.sparsity > 0) mlp.quantile_ = normal_quantile(spec.sparsity);
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

/// What lies above a quantile of each row, were it normally distributed, as its distance from
/// there.
mx::array Mlp::sparse(const mx::array& gate) const {
  if (!quantile_) return gate;
  const mx::array deviation = mx::std(gate, -1, /*keepdims=*/true);
  const mx::array cut = mx::add(mx::mean(gate, -1, /*keepdims=*/true),
                                mx::multiply(deviation, scalar(*quantile_, gate)));
  return mx::maximum(mx::subtract(gate, cut), scalar(0, gate));
}

/// Huang and Schlag 2024, arXiv 2411.13010.
mx::array Mlp::xielu(const mx::array& x) const {
  const mx::array line = mx::multiply(xielu_[2], x);
  const mx::array above = mx::add(mx::multiply(xielu_[0], mx::square(x)), line);
  const mx::array bend = mx::subtract(mx::expm1(mx::minimum(x, xielu_[3])), x);
  return mx::where(mx::greater(x, scalar(0, x)), above,
                   mx::add(mx::multiply(bend, xielu_[1]), line));
}

mx::array Mlp::operator()(const mx::array& x) const {
  if (gate_up_) {
    const mx::array both = apply(*gate_up_, x);
    const int half = both.shape(-1) / 2;
    const mx::array first = section(both, -1, 0, half);
    const mx::array second = section(both, -1, half, 2 * half);
    return apply(down_, spec_.up_first ? gated(spec_, second, first) : gated(spec_, first, second));
  }
  if (!gate_) {
    const mx::array up = apply(*up_, x);
    return apply(down_, xielu_.empty() ? activate(spec_.activation, up) : xielu(up));
  }
  const auto parts = apply_all({&*gate_, &*up_}, x);
  return apply(down_, gated(spec_, sparse(parts[0]), parts[1]));
}

namespace {

class MlpBlock final : public Block {
 public:
  explicit MlpBlock(Mlp mlp) : mlp_(std::move(mlp)) {}
  mx::array run(const mx::array& x, Pass& /*pass*/) const override { return mlp_(x); }

 private:
  Mlp mlp_;
};

class LinearBlock final : public Block {
 public:
  explicit LinearBlock(Linear layer) : layer_(std::move(layer)) {}
  mx::array run(const mx::array& x, Pass& /*pass*/) const override { return apply(layer_, x); }

 private:
  Linear layer_;
};

}  // namespace

Result<BlockPointer> make_block(const architectures::LinearSpec& spec, const Weights& weights) {
  MLXMILL_ASSIGN(Linear layer, weights.linear(spec.path));
  return BlockPointer(std::make_unique<LinearBlock>(std::move(layer)));
}

Result<BlockPointer> make_block(const architectures::MlpSpec& spec, const Weights& weights) {
  MLXMILL_ASSIGN(Mlp mlp, Mlp::build(spec, weights));
  return BlockPointer(std::make_unique<MlpBlock>(std::move(mlp)));
}

}  // namespace mlxmill::runtime
