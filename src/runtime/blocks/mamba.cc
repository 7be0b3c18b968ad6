// Selective state spaces: Mamba 2 and Mamba. States are float32 whatever the activations are.
#include <algorithm>

#include "runtime/block.h"
#include "runtime/convolve.h"

namespace mlxmill::runtime {
namespace {

using architectures::Mamba2Spec;
using architectures::MambaSpec;

mx::array wide(const mx::array& x) { return mx::astype(x, mx::float32); }

/// Rows [begin, end) along `axis`.
mx::array rows_of(const mx::array& x, int axis, int begin, int end) {
  mx::Shape start(x.ndim(), 0);
  mx::Shape stop = x.shape();
  start[static_cast<std::size_t>(axis)] = begin;
  stop[static_cast<std::size_t>(axis)] = end;
  return mx::slice(x, start, stop);
}

/// silu(convolution + bias) over the last tokens.
mx::array mixed(const mx::array& x, const Linear& conv, ArraysState& state) {
  mx::array y = convolve(x, conv.weight, state, 0);
  if (conv.bias) y = mx::add(y, *conv.bias);
  return activate(Activation::kSilu, y);
}

class Mamba2 final : public Block {
 public:
  /// Tokens that are computed as one matrix: the work in it grows with their square.
  static constexpr int kChunk = 128;

  Mamba2(const Mamba2Spec& spec, Linear in, Linear conv, Linear out)
      : spec_(spec), in_(std::move(in)), conv_(std::move(conv)), out_(std::move(out)) {}

  Status build(const Weights& weights) {
    MLXMILL_ASSIGN(const mx::array a_log, weights.tensor(spec_.a_log));
    MLXMILL_ASSIGN(const mx::array dt_bias, weights.tensor(spec_.dt_bias));
    MLXMILL_ASSIGN(const mx::array d, weights.tensor(spec_.d));
    a_ = mx::negative(mx::exp(wide(a_log)));
    dt_bias_ = wide(dt_bias);
    d_ = mx::reshape(wide(d), {groups(), per_group(), 1, 1});
    mx::eval({*a_, *dt_bias_, *d_});
    MLXMILL_ASSIGN(norm_, weights.norm(spec_.norm));
    return {};
  }

  std::unique_ptr<State> new_state(const StateOptions& /*options*/) const override {
    return std::make_unique<ArraysState>(2);
  }

  mx::array run(const mx::array& x, Pass& pass) const override {
    auto& state = *static_cast<ArraysState*>(pass.state);
    const int inner = static_cast<int>(spec_.heads * spec_.head_dim);
    const int shared = static_cast<int>(spec_.groups * spec_.state);
    const auto parts = mx::split(apply(in_, x), mx::Shape{inner, 2 * inner + 2 * shared}, -1);
    const mx::array xbc = mixed(parts[1], conv_, state);
    const auto input = mx::split(wide(xbc), mx::Shape{inner, inner + shared}, -1);
    const Sequence all{by_head(input[0]), by_group(input[1]), by_group(input[2]),
                       time_steps(parts[2])};
    std::optional<mx::array> carried = state[1];
    std::vector<mx::array> outputs;
    for (int begin = 0; begin < pass.length; begin += kChunk) {
      outputs.push_back(step(all.part(begin, std::min(begin + kChunk, pass.length)), carried));
    }
    state.set(1, *carried);
    mx::array y = outputs.size() == 1 ? outputs[0] : mx::concatenate(outputs, 2);
    y = mx::reshape(mx::transpose(y, {2, 0, 1, 3}), {1, pass.length, inner});
    return apply(out_, gated_norm(mx::astype(y, x.dtype()), parts[0]));
  }

 private:
  /// Of a run of tokens, in float32: x [groups, heads each, tokens, size], b and c
  /// [groups, 1, tokens, state], dt [groups, heads each, tokens].
  struct Sequence {
    mx::array x, b, c, dt;
    Sequence part(int begin, int end) const {
      if (begin == 0 && end == x.shape(2)) return *this;
      return {rows_of(x, 2, begin, end), rows_of(b, 2, begin, end), rows_of(c, 2, begin, end),
              rows_of(dt, 2, begin, end)};
    }
  };

  int groups() const { return static_cast<int>(spec_.groups); }
  int per_group() const { return static_cast<int>(spec_.heads / spec_.groups); }

  mx::array by_head(const mx::array& x) const {
    return mx::transpose(mx::reshape(x, {x.shape(1), groups(), per_group(), -1}), {1, 2, 0, 3});
  }
  mx::array by_group(const mx::array& x) const {
    return mx::transpose(mx::reshape(x, {x.shape(1), groups(), 1, -1}), {1, 2, 0, 3});
  }

  mx::array time_steps(const mx::array& dt) const {
    mx::array y = activate(Activation::kSoftplus, mx::add(wide(dt), *dt_bias_));
    y = mx::clip(y, mx::array(static_cast<float>(spec_.dt_min)),
                 mx::array(static_cast<float>(spec_.dt_max)));
    return mx::transpose(mx::reshape(y, {dt.shape(1), groups(), per_group()}), {1, 2, 0});
  }

  /// y [groups, heads each, tokens, size]; `state` [groups, heads each, size, state] moves on. The
  /// tokens of a chunk see each other through one matrix: arXiv 2405.21060, section 6.
  mx::array step(const Sequence& in, std::optional<mx::array>& state) const {
    const int n = in.x.shape(2);
    const mx::array decay = mx::multiply(in.dt, mx::reshape(*a_, {groups(), per_group(), 1}));
    const mx::array dtx = mx::multiply(in.x, mx::expand_dims(in.dt, -1));
    // Sums from one token to another, each for itself: differences of sums would cancel.
    mx::array sums = mx::broadcast_to(mx::expand_dims(decay, -1), {groups(), per_group(), n, n});
    sums = mx::exp(mx::cumsum(mx::tril(sums, -1), 2));
    const mx::array similar = mx::matmul(in.c, mx::swapaxes(in.b, -1, -2));
    mx::array y = mx::matmul(mx::tril(mx::multiply(similar, sums)), dtx);
    const mx::array to_end = mx::swapaxes(rows_of(sums, 2, n - 1, n), -1, -2);
    mx::array next = mx::matmul(mx::swapaxes(mx::multiply(dtx, to_end), -1, -2), in.b);
    if (state) {
      const mx::array since = mx::expand_dims(mx::exp(mx::cumsum(decay, -1)), -1);
      y = mx::add(y, mx::multiply(mx::matmul(in.c, mx::swapaxes(*state, -1, -2)), since));
      next = mx::add(next, mx::multiply(*state, rows_of(since, 2, n - 1, n)));
    }
    state = next;
    return mx::add(y, mx::multiply(in.x, *d_));
  }

  mx::array gated_norm(const mx::array& y, const mx::array& gate) const {
    if (norm_ && spec_.norm_first) return gated(Activation::kSilu, gate, normed(y));
    return normed(gated(Activation::kSilu, gate, y));
  }

  mx::array normed(const mx::array& x) const {
    if (spec_.norm_groups == 1 || !norm_) return norm_(x);
    Norm plain = norm_;
    plain.weight.reset();
    const mx::array split =
        mx::reshape(x, {1, x.shape(1), static_cast<int>(spec_.norm_groups), -1});
    return mx::multiply(mx::reshape(plain(split), x.shape()), *norm_.weight);
  }

  Mamba2Spec spec_;
  Linear in_, conv_, out_;
  std::optional<mx::array> a_, dt_bias_, d_;
  Norm norm_;
};

class Mamba final : public Block {
 public:
  /// Tokens whose decays [tokens, channels, state] are there at once.
  static constexpr int kChunk = 64;

  Mamba(const MambaSpec& spec, Linear in, Linear conv, Linear x, Linear dt, Linear out)
      : spec_(spec),
        in_(std::move(in)),
        conv_(std::move(conv)),
        x_(std::move(x)),
        dt_(std::move(dt)),
        out_(std::move(out)) {}

  Status build(const Weights& weights) {
    MLXMILL_ASSIGN(const mx::array a_log, weights.tensor(spec_.a_log));
    MLXMILL_ASSIGN(const mx::array d, weights.tensor(spec_.d));
    a_ = mx::negative(mx::exp(wide(a_log)));
    d_ = wide(d);
    mx::eval({*a_, *d_});
    MLXMILL_ASSIGN(dt_norm_, weights.norm(spec_.dt_norm));
    MLXMILL_ASSIGN(b_norm_, weights.norm(spec_.b_norm));
    MLXMILL_ASSIGN(c_norm_, weights.norm(spec_.c_norm));
    return {};
  }

  std::unique_ptr<State> new_state(const StateOptions& /*options*/) const override {
    return std::make_unique<ArraysState>(2);
  }

  mx::array run(const mx::array& hidden, Pass& pass) const override {
    auto& state = *static_cast<ArraysState*>(pass.state);
    const auto parts = mx::split(apply(in_, hidden), 2, -1);
    const mx::array x = mixed(parts[0], conv_, state);
    const auto rank = static_cast<int>(spec_.rank);
    const auto size = static_cast<int>(spec_.state);
    const auto made = mx::split(apply(x_, x), mx::Shape{rank, rank + size}, -1);
    const auto rows = [&](const mx::array& y) { return mx::squeeze(wide(y), 0); };
    const mx::array dt = activate(Activation::kSoftplus, rows(apply(dt_, dt_norm_(made[0]))));
    const mx::array b = rows(b_norm_(made[1]));
    const mx::array c = rows(c_norm_(made[2]));
    const mx::array input = rows(x);
    mx::array carried = state[1] ? *state[1] : mx::zeros({x.shape(-1), size}, mx::float32);
    std::vector<mx::array> outputs;
    for (int begin = 0; begin < pass.length; begin += kChunk) {
      const int end = std::min(begin + kChunk, pass.length);
      const auto part = [&](const mx::array& y) { return rows_of(y, 0, begin, end); };
      outputs.push_back(scan(part(input), part(dt), part(b), part(c), carried));
    }
    state.set(1, carried);
    mx::array y = mx::add(mx::concatenate(outputs, 0), mx::multiply(input, *d_));
    y = mx::astype(mx::expand_dims(y, 0), hidden.dtype());
    return apply(out_, gated(Activation::kSilu, parts[1], y));
  }

 private:
  /// x and dt [tokens, channels], b and c [tokens, state]; `state` [channels, state] moves on.
  mx::array scan(const mx::array& x, const mx::array& dt, const mx::array& b, const mx::array& c,
                 mx::array& state) const {
    const mx::array decay = mx::exp(mx::multiply(mx::expand_dims(dt, -1), *a_));
    const mx::array input =
        mx::multiply(mx::expand_dims(mx::multiply(dt, x), -1), mx::expand_dims(b, 1));
    std::vector<mx::array> states;
    for (int t = 0; t < x.shape(0); ++t) {
      const auto at = [&](const mx::array& y) { return mx::take(y, t, 0); };
      state = mx::add(mx::multiply(state, at(decay)), at(input));
      states.push_back(state);
    }
    return mx::squeeze(mx::matmul(mx::stack(states, 0), mx::expand_dims(c, -1)), -1);
  }

  MambaSpec spec_;
  Linear in_, conv_, x_, dt_, out_;
  std::optional<mx::array> a_, d_;
  Norm dt_norm_, b_norm_, c_norm_;
};

std::uint64_t bytes_of(std::int64_t channels, std::int64_t kernel, std::int64_t numbers,
                       const StateOptions& options) {
  return static_cast<std::uint64_t>(channels * (kernel - 1)) * mx::size_of(options.dtype) +
         static_cast<std::uint64_t>(numbers) * sizeof(float);
}

}  // namespace

std::uint64_t state_bytes(const Mamba2Spec& spec, const StateOptions& options,
                          std::int64_t /*tokens*/) {
  const std::int64_t inner = spec.heads * spec.head_dim;
  return bytes_of(inner + 2 * spec.groups * spec.state, spec.kernel, inner * spec.state, options);
}

std::uint64_t state_bytes(const MambaSpec& spec, const StateOptions& options,
                          std::int64_t /*tokens*/) {
  return bytes_of(spec.channels, spec.kernel, spec.channels * spec.state, options);
}

Result<BlockPointer> make_block(const Mamba2Spec& spec, const Weights& weights) {
  MLXMILL_ASSIGN(Linear in, weights.linear(spec.in));
  MLXMILL_ASSIGN(Linear conv, weights.linear(spec.conv));
  MLXMILL_ASSIGN(Linear out, weights.linear(spec.out));
  auto block = std::make_unique<Mamba2>(spec, std::move(in), std::move(conv), std::move(out));
  MLXMILL_TRY(block->build(weights));
  return BlockPointer(std::move(block));
}

Result<BlockPointer> make_block(const MambaSpec& spec, const Weights& weights) {
  MLXMILL_ASSIGN(Linear in, weights.linear(spec.in));
  MLXMILL_ASSIGN(Linear conv, weights.linear(spec.conv));
  MLXMILL_ASSIGN(Linear x, weights.linear(spec.x));
  MLXMILL_ASSIGN(Linear dt, weights.linear(spec.dt));
  MLXMILL_ASSIGN(Linear out, weights.linear(spec.out));
  auto block = std::make_unique<Mamba>(spec, std::move(in), std::move(conv), std::move(x),
                                       std::move(dt), std::move(out));
  MLXMILL_TRY(block->build(weights));
  return BlockPointer(std::move(block));
}

}  // namespace mlxmill::runtime
