// Gated delta net, and the gated short convolution: blocks with a state of fixed size.
#include <cmath>

#include "runtime/block.h"
#include "runtime/convolve.h"

namespace mlxmill::runtime {
namespace {

using architectures::DeltaNetSpec;
using architectures::ShortConvSpec;

class DeltaNet final : public Block {
 public:
  explicit DeltaNet(const DeltaNetSpec& spec) : spec_(spec) {}

  Status build(const Weights& weights) {
    MLXMILL_ASSIGN(qkv_, weights.linear_if(spec_.qkv));
    MLXMILL_ASSIGN(q_, weights.linear_if(spec_.q));
    MLXMILL_ASSIGN(k_, weights.linear_if(spec_.k));
    MLXMILL_ASSIGN(v_, weights.linear_if(spec_.v));
    MLXMILL_ASSIGN(z_, weights.linear_if(spec_.z));
    MLXMILL_ASSIGN(b_, weights.linear_if(spec_.b));
    MLXMILL_ASSIGN(a_, weights.linear_if(spec_.a));
    MLXMILL_ASSIGN(qkvz_, weights.linear_if(spec_.qkvz));
    MLXMILL_ASSIGN(ba_, weights.linear_if(spec_.ba));
    MLXMILL_ASSIGN(out_, weights.linear_if(spec_.out));
    MLXMILL_TRY(take_convolution(weights));
    MLXMILL_ASSIGN(a_log_, weights.tensor(spec_.a_log));
    MLXMILL_ASSIGN(dt_bias_, weights.tensor(spec_.dt_bias));
    MLXMILL_ASSIGN(norm_, weights.norm(spec_.norm));
    return {};
  }

  std::unique_ptr<State> new_state(const StateOptions& /*options*/) const override {
    return std::make_unique<ArraysState>(2);
  }

  mx::array run(const mx::array& x, Pass& pass) const override {
    auto& state = *static_cast<ArraysState*>(pass.state);
    const Projected in = project(x);
    const mx::array mixed = activate(Activation::kSilu, convolve(in.qkv, *conv_, state, 0));
    const auto parts = mx::split(mixed, mx::Shape{keys(), 2 * keys()}, -1);
    const mx::array q = mx::multiply(unit(heads(parts[0], spec_.key_heads)),
                                     mx::array(1 / std::sqrt(static_cast<float>(spec_.key_dim))));
    const mx::array k = unit(heads(parts[1], spec_.key_heads));
    const mx::array v = mx::astype(heads(parts[2], spec_.value_heads), mx::float32);
    const mx::array beta = mx::multiply(mx::sigmoid(mx::astype(in.b, mx::float32)),
                                        mx::array(static_cast<float>(spec_.beta_scale)));
    const auto result =
        mx::fast::gated_delta_update(q, k, v, decay(in.a), beta, state[1], std::nullopt);
    state.set(1, result[1]);
    const mx::array y = norm_(mx::astype(result[0], x.dtype()));
    const mx::array gate = activate(Activation::kSilu, mx::astype(in.z, mx::float32));
    const mx::array out = mx::astype(mx::multiply(gate, mx::astype(y, mx::float32)), x.dtype());
    return apply(*out_, mx::reshape(out, {1, pass.length, -1}));
  }

 private:
  /// q, k, v [1, length, channels]; z by value heads; b and a [1, length, value heads].
  struct Projected {
    mx::array qkv, z, b, a;
  };

  /// Three depthwise convolutions beside each other are one.
  Status take_convolution(const Weights& weights) {
    if (!spec_.conv.empty()) {
      MLXMILL_ASSIGN(conv_, weights.tensor(spec_.conv));
      return {};
    }
    MLXMILL_ASSIGN(const mx::array q, weights.tensor(spec_.q_conv));
    MLXMILL_ASSIGN(const mx::array k, weights.tensor(spec_.k_conv));
    MLXMILL_ASSIGN(const mx::array v, weights.tensor(spec_.v_conv));
    conv_ = mx::concatenate({q, k, v}, 0);
    return {};
  }

  int keys() const { return static_cast<int>(spec_.key_heads * spec_.key_dim); }

  static mx::array heads(const mx::array& x, std::int64_t n) {
    return mx::reshape(x, {1, x.shape(1), static_cast<int>(n), -1});
  }

  Projected project(const mx::array& x) const {
    if (!qkvz_) {
      const mx::array qkv =
          qkv_ ? apply(*qkv_, x)
               : mx::concatenate({apply(*q_, x), apply(*k_, x), apply(*v_, x)}, -1);
      return {qkv, heads(apply(*z_, x), spec_.value_heads), apply(*b_, x), apply(*a_, x)};
    }
    const auto dim = static_cast<int>(spec_.key_dim);
    const auto ratio = static_cast<int>(spec_.value_heads / spec_.key_heads);
    const int values = ratio * static_cast<int>(spec_.value_dim);
    const auto parts = mx::split(heads(apply(*qkvz_, x), spec_.key_heads),
                                 mx::Shape{dim, 2 * dim, 2 * dim + values}, -1);
    const auto ba = mx::split(heads(apply(*ba_, x), spec_.key_heads), mx::Shape{ratio}, -1);
    const auto flat = [&](const mx::array& part) { return mx::reshape(part, {1, x.shape(1), -1}); };
    return {mx::concatenate({flat(parts[0]), flat(parts[1]), flat(parts[2])}, -1),
            heads(flat(parts[3]), spec_.value_heads), flat(ba[0]), flat(ba[1])};
  }

  /// x / sqrt(sum of squares + 1e-6), in float32.
  static mx::array unit(const mx::array& x) {
    const mx::array wide = mx::astype(x, mx::float32);
    const mx::array sum = mx::sum(mx::square(wide), -1, /*keepdims=*/true);
    return mx::multiply(wide, mx::rsqrt(mx::add(sum, mx::array(1e-6F))));
  }

  /// exp(-exp(A) softplus(a + dt)).
  mx::array decay(const mx::array& a) const {
    const mx::array shifted =
        mx::add(mx::astype(a, mx::float32), mx::astype(*dt_bias_, mx::float32));
    const mx::array rate = mx::exp(mx::astype(*a_log_, mx::float32));
    return mx::exp(mx::negative(mx::multiply(rate, activate(Activation::kSoftplus, shifted))));
  }

  DeltaNetSpec spec_;
  std::optional<Linear> q_, k_, v_, qkv_, z_, b_, a_, qkvz_, ba_, out_;
  std::optional<mx::array> conv_, a_log_, dt_bias_;
  Norm norm_;
};

class ShortConv final : public Block {
 public:
  ShortConv(Linear in, Linear conv, Linear out)
      : in_(std::move(in)), conv_(std::move(conv)), out_(std::move(out)) {}

  std::unique_ptr<State> new_state(const StateOptions& /*options*/) const override {
    return std::make_unique<ArraysState>(1);
  }

  mx::array run(const mx::array& x, Pass& pass) const override {
    const auto parts = mx::split(apply(in_, x), 3, -1);
    mx::array y = convolve(mx::multiply(parts[0], parts[2]), conv_.weight,
                           *static_cast<ArraysState*>(pass.state), 0);
    if (conv_.bias) y = mx::add(y, *conv_.bias);
    return apply(out_, mx::multiply(parts[1], y));
  }

 private:
  Linear in_, conv_, out_;
};

}  // namespace

std::uint64_t state_bytes(const DeltaNetSpec& spec, const StateOptions& options,
                          std::int64_t /*tokens*/) {
  const std::int64_t channels =
      2 * spec.key_heads * spec.key_dim + spec.value_heads * spec.value_dim;
  const std::int64_t numbers = spec.value_heads * spec.key_dim * spec.value_dim;
  return static_cast<std::uint64_t>(channels * (spec.kernel - 1)) * mx::size_of(options.dtype) +
         static_cast<std::uint64_t>(numbers) * sizeof(float);
}

std::uint64_t state_bytes(const ShortConvSpec& spec, const StateOptions& options,
                          std::int64_t /*tokens*/) {
  return static_cast<std::uint64_t>(spec.channels * (spec.kernel - 1)) * mx::size_of(options.dtype);
}

Result<BlockPointer> make_block(const DeltaNetSpec& spec, const Weights& weights) {
  auto block = std::make_unique<DeltaNet>(spec);
  MLXMILL_TRY(block->build(weights));
  return BlockPointer(std::move(block));
}

Result<BlockPointer> make_block(const ShortConvSpec& spec, const Weights& weights) {
  MLXMILL_ASSIGN(Linear in, weights.linear(spec.in));
  MLXMILL_ASSIGN(Linear conv, weights.linear(spec.conv));
  MLXMILL_ASSIGN(Linear out, weights.linear(spec.out));
  return BlockPointer(std::make_unique<ShortConv>(std::move(in), std::move(conv), std::move(out)));
}

}  // namespace mlxmill::runtime
