// RWKV 7: time mix and channel mix. States are float32 whatever the activations are.
#include "runtime/block.h"
#include "runtime/recurrence.h"

namespace mlxmill::runtime {
namespace {

using architectures::ChannelMixSpec;
using architectures::TimeMixSpec;

/// The decay of an element for one token is exp(-kRate * sigmoid(w)), from exp(-kRate) to 1.
/// Source: mlx_lm/models/rwkv7.py, after RWKV-LM's.
constexpr float kRate = 0.606531F;

mx::array in_float32(const mx::array& x) { return mx::astype(x, mx::float32); }

/// What was there before each token: x [1, length, hidden], shifted by one. The state keeps the
/// last.
mx::array shifted(const mx::array& x, ArraysState& state, std::size_t slot) {
  const int length = x.shape(1);
  const mx::array before = state[slot] ? *state[slot] : mx::zeros({1, 1, x.shape(2)}, x.dtype());
  state.set(slot, mx::contiguous(mx::slice(x, {0, length - 1, 0}, x.shape())));
  if (length == 1) return before;
  return mx::concatenate({before, mx::slice(x, {0, 0, 0}, {1, length - 1, x.shape(2)})}, 1);
}

class TimeMix final : public Block {
 public:
  explicit TimeMix(const TimeMixSpec& spec) : spec_(spec) {}

  Status build(const Weights& weights) {
    MLXMILL_ASSIGN(r_, weights.linear_if(spec_.r));
    MLXMILL_ASSIGN(k_, weights.linear_if(spec_.k));
    MLXMILL_ASSIGN(v_, weights.linear_if(spec_.v));
    MLXMILL_ASSIGN(o_, weights.linear_if(spec_.o));
    MLXMILL_ASSIGN(w_in_, weights.linear_if(spec_.w_in));
    MLXMILL_ASSIGN(w_out_, weights.linear_if(spec_.w_out));
    MLXMILL_ASSIGN(a_in_, weights.linear_if(spec_.a_in));
    MLXMILL_ASSIGN(a_out_, weights.linear_if(spec_.a_out));
    MLXMILL_ASSIGN(v_in_, weights.linear_if(spec_.v_in));
    MLXMILL_ASSIGN(v_out_, weights.linear_if(spec_.v_out));
    MLXMILL_ASSIGN(g_in_, weights.linear_if(spec_.g_in));
    MLXMILL_ASSIGN(g_out_, weights.linear_if(spec_.g_out));
    for (const std::string* name :
         {&spec_.x_r, &spec_.x_w, &spec_.x_k, &spec_.x_v, &spec_.x_a, &spec_.x_g}) {
      MLXMILL_ASSIGN(const mx::array share, weights.tensor(*name));
      shares_.push_back(mx::reshape(share, {1, 1, -1}));
    }
    MLXMILL_ASSIGN(const mx::array k_k, weights.tensor(spec_.k_k));
    MLXMILL_ASSIGN(const mx::array k_a, weights.tensor(spec_.k_a));
    MLXMILL_ASSIGN(const mx::array r_k, weights.tensor(spec_.r_k));
    k_k_ = by_head(in_float32(k_k));
    k_a_ = by_head(in_float32(k_a));
    r_k_ = by_head(in_float32(r_k));
    mx::eval({*k_k_, *k_a_, *r_k_});
    MLXMILL_ASSIGN(norm_, weights.norm(spec_.norm));
    if (norm_.weight) norm_.weight = mx::reshape(in_float32(*norm_.weight), k_k_->shape());
    if (norm_.bias) norm_.bias = mx::reshape(in_float32(*norm_.bias), k_k_->shape());
    return {};
  }

  std::unique_ptr<State> new_state(const StateOptions& /*options*/) const override {
    return std::make_unique<ArraysState>(2);
  }

  mx::array run(const mx::array& x, Pass& pass) const override {
    auto& state = *static_cast<ArraysState*>(pass.state);
    const mx::array change = mx::subtract(shifted(x, state, 0), x);
    const auto mixed = [&](std::size_t i) { return mx::add(x, mx::multiply(change, shares_[i])); };
    const mx::array r = by_head(in_float32(apply(*r_, mixed(0))));
    const mx::array w = apply(*w_out_, mx::tanh(apply(*w_in_, mixed(1))));
    const mx::array k = by_head(in_float32(apply(*k_, mixed(2))));
    const mx::array v = values(mixed(3), pass);
    const mx::array a = by_head(mx::sigmoid(in_float32(apply(*a_out_, apply(*a_in_, mixed(4))))));
    const mx::array gate = apply(*g_out_, mx::sigmoid(apply(*g_in_, mixed(5))));
    const mx::array kk = unit(mx::multiply(k, *k_k_));
    const mx::array grown = mx::multiply(mx::subtract(a, mx::array(1.0F)), *k_a_);
    const mx::array key = mx::multiply(k, mx::add(grown, mx::array(1.0F)));
    const mx::array w_log = mx::multiply(mx::sigmoid(by_head(in_float32(w))), mx::array(-kRate));
    mx::array y =
        remembered(Recurrence{heads_first(r), heads_first(w_log), heads_first(key), heads_first(v),
                              heads_first(mx::negative(kk)), heads_first(mx::multiply(kk, a))},
                   state);
    y = norm_(mx::expand_dims(mx::swapaxes(y, 0, 1), 0));
    const mx::array own = mx::multiply(mx::multiply(r, key), *r_k_);
    y = mx::add(y, mx::multiply(mx::sum(own, -1, /*keepdims=*/true), v));
    y = mx::astype(mx::reshape(y, {1, pass.length, -1}), x.dtype());
    return apply(*o_, mx::multiply(y, gate));
  }

 private:
  /// [..., hidden] to [1, length, heads, size].
  mx::array by_head(const mx::array& x) const {
    return mx::reshape(x, {1, -1, static_cast<int>(spec_.heads), static_cast<int>(spec_.head_dim)});
  }

  /// [1, length, heads, size] to [heads, length, size].
  static mx::array heads_first(const mx::array& x) { return mx::swapaxes(mx::squeeze(x, 0), 0, 1); }

  static mx::array unit(const mx::array& x) {
    const mx::array length = mx::sqrt(mx::sum(mx::square(x), -1, /*keepdims=*/true));
    return mx::divide(x, mx::maximum(length, mx::array(1e-7F)));
  }

  /// Between this layer's values and the first's.
  mx::array values(const mx::array& x, Pass& pass) const {
    const mx::array own = by_head(in_float32(apply(*v_, x)));
    if (!v_in_) {
      pass.first_values = own;
      return own;
    }
    const mx::array share = by_head(mx::sigmoid(in_float32(apply(*v_out_, apply(*v_in_, x)))));
    return mx::add(own, mx::multiply(mx::subtract(*pass.first_values, own), share));
  }

  mx::array remembered(const Recurrence& in, ArraysState& state) const {
    const auto size = static_cast<int>(spec_.head_dim);
    mx::array carried =
        state[1] ? *state[1] : mx::zeros({static_cast<int>(spec_.heads), size, size}, mx::float32);
    const mx::array y =
        in.r.shape(1) == 1 ? recur_by_token(in, carried) : recur_by_chunks(in, carried);
    state.set(1, carried);
    return y;
  }

  TimeMixSpec spec_;
  std::optional<Linear> r_, k_, v_, o_, w_in_, w_out_, a_in_, a_out_, v_in_, v_out_, g_in_, g_out_;
  std::vector<mx::array> shares_;  ///< Of r, w, k, v, a and g.
  std::optional<mx::array> k_k_, k_a_, r_k_;
  Norm norm_;
};

class ChannelMix final : public Block {
 public:
  ChannelMix(Linear key, Linear value, mx::array share)
      : key_(std::move(key)), value_(std::move(value)), share_(std::move(share)) {}

  std::unique_ptr<State> new_state(const StateOptions& /*options*/) const override {
    return std::make_unique<ArraysState>(1);
  }

  mx::array run(const mx::array& x, Pass& pass) const override {
    const mx::array before = shifted(x, *static_cast<ArraysState*>(pass.state), 0);
    const mx::array mixed = mx::add(x, mx::multiply(mx::subtract(before, x), share_));
    return apply(value_, activate(Activation::kReluSquared, apply(key_, mixed)));
  }

 private:
  Linear key_, value_;
  mx::array share_;
};

}  // namespace

Result<BlockPointer> make_block(const TimeMixSpec& spec, const Weights& weights) {
  auto block = std::make_unique<TimeMix>(spec);
  MLXMILL_TRY(block->build(weights));
  return BlockPointer(std::move(block));
}

Result<BlockPointer> make_block(const ChannelMixSpec& spec, const Weights& weights) {
  MLXMILL_ASSIGN(Linear key, weights.linear(spec.key));
  MLXMILL_ASSIGN(Linear value, weights.linear(spec.value));
  MLXMILL_ASSIGN(const mx::array share, weights.tensor(spec.x_k));
  return BlockPointer(std::make_unique<ChannelMix>(std::move(key), std::move(value),
                                                   mx::reshape(share, {1, 1, -1})));
}

}  // namespace mlxmill::runtime
