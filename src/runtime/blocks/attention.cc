// Attention with grouped heads, in all its variants (architectures/forward/blocks.h).
#include <cmath>
#include <tuple>

#include "runtime/attend.h"
#include "runtime/block.h"
#include "runtime/block_indexer.h"
#include "runtime/temperature.h"
#include "runtime/views.h"

namespace mlxmill::runtime {
namespace {

using architectures::AttentionSpec;
using architectures::QkvOrder;

/// [1, length, heads * size] to [1, length, heads, size].
mx::array split_heads(const mx::array& x, std::int64_t heads) {
  return reshaped(x, {1, x.shape(1), static_cast<int>(heads), -1});
}

/// [1, length, ...] to [1, length, everything].
mx::array flat(const mx::array& x) { return reshaped(x, {1, x.shape(1), -1}); }

/// [1, length, heads, size] to [1, heads, length, size], and back.
mx::array swapped(const mx::array& x) { return runtime::swapped(x, 1, 2); }

/// [1, rows * columns, length, size]: the heads, read as a matrix of so many rows, transposed.
mx::array regrouped(const mx::array& x, int rows) {
  const mx::array matrix = mx::reshape(x, {rows, x.shape(1) / rows, x.shape(2), x.shape(3)});
  return mx::reshape(mx::transpose(matrix, {1, 0, 2, 3}), x.shape());
}

/// How far back a token sees, itself included; 0: to the start.
std::int64_t reach(const AttentionSpec& spec) { return spec.window > 0 ? spec.window : spec.chunk; }

class Attention final : public Block {
 public:
  Attention(const AttentionSpec& spec) : spec_(spec), rope_(spec.rope) {}

  Status build(const Weights& weights);
  mx::array run(const mx::array& x, Pass& pass) const override;

  std::unique_ptr<State> new_state(const StateOptions& options) const override {
    if (spec_.shares >= 0) return nullptr;
    return std::make_unique<KvState>(options, reach(spec_), indexer_.has_value());
  }

 private:
  /// Each [1, length, heads, size]; the gate [1, length, heads * size].
  struct Projected {
    mx::array q;
    std::optional<mx::array> k, v, gate;
  };

  Projected project(const mx::array& x) const;
  Projected split_fused(const mx::array& qkv) const;
  mx::array clipped(const mx::array& x) const;
  mx::array normed(const Norm& norm, const mx::array& x) const;
  mx::array positioned(const Norm& norm, const mx::array& x, const Pass& pass) const;
  KeysValues keys_and_values(const Projected& projected, const mx::array& x, Pass& pass) const;
  mx::array attended(const mx::array& queries, const KeysValues& kv, const mx::array& x,
                     Pass& pass) const;

  AttentionSpec spec_;
  Rope rope_;
  std::optional<Linear> q_, k_, v_, qkv_, o_, gate_;
  Norm q_norm_, k_norm_, v_norm_;
  std::optional<mx::array> sinks_;
  std::optional<BlockIndexer> indexer_;
};

Status Attention::build(const Weights& weights) {
  MLXMILL_ASSIGN(q_, weights.linear_if(spec_.q));
  if (spec_.shares < 0 && !spec_.borrows) {
    MLXMILL_ASSIGN(k_, weights.linear_if(spec_.k));
    MLXMILL_ASSIGN(v_, weights.linear_if(spec_.v));
  }
  MLXMILL_ASSIGN(qkv_, weights.linear_if(spec_.qkv));
  MLXMILL_ASSIGN(o_, weights.linear_if(spec_.o));
  MLXMILL_ASSIGN(gate_, weights.linear_if(spec_.gate));
  MLXMILL_ASSIGN(q_norm_, weights.norm(spec_.q_norm));
  if (spec_.shares < 0) {
    MLXMILL_ASSIGN(k_norm_, weights.norm(spec_.k_norm));
    MLXMILL_ASSIGN(v_norm_, weights.norm(spec_.v_norm));
  }
  if (!spec_.sinks.empty()) {
    MLXMILL_ASSIGN(sinks_, weights.tensor(spec_.sinks));
  }
  if (spec_.indexer) {
    MLXMILL_ASSIGN(indexer_, BlockIndexer::build(*spec_.indexer, weights));
  }
  return {};
}

Attention::Projected Attention::split_fused(const mx::array& qkv) const {
  const auto dim = static_cast<int>(spec_.head_dim);
  const auto heads = static_cast<int>(spec_.heads);
  const auto kv_heads = static_cast<int>(spec_.kv_heads);
  if (spec_.order == QkvOrder::kBlocks) {
    const int k_at = heads * dim;
    const int v_at = k_at + kv_heads * dim;
    return {split_heads(section(qkv, -1, 0, k_at), heads),
            split_heads(section(qkv, -1, k_at, v_at), kv_heads),
            split_heads(section(qkv, -1, v_at, qkv.shape(-1)), kv_heads), std::nullopt};
  }
  // The other orders are groups of q heads, each followed by its k and v.
  const int groups = spec_.order == QkvOrder::kHeads ? heads : kv_heads;
  const int q_size = heads / groups * dim;
  const mx::array parts = split_heads(qkv, groups);
  return {reshaped(section(parts, -1, 0, q_size), {1, qkv.shape(1), heads, dim}),
          section(parts, -1, q_size, q_size + dim),
          section(parts, -1, q_size + dim, parts.shape(-1)), std::nullopt};
}

Attention::Projected Attention::project(const mx::array& x) const {
  if (qkv_) return split_fused(clipped(apply(*qkv_, x)));
  std::vector<const Linear*> layers = {&*q_};
  if (k_) layers.push_back(&*k_);
  if (k_ && v_) layers.push_back(&*v_);
  const std::vector<mx::array> parts = apply_all(layers, x);
  Projected result{split_heads(clipped(parts[0]), spec_.heads), std::nullopt, std::nullopt,
                   std::nullopt};
  if (spec_.order == QkvOrder::kGated) {
    const mx::array both = result.q;
    const int half = both.shape(-1) / 2;
    result.q = section(both, -1, 0, half);
    result.gate = flat(section(both, -1, half, 2 * half));
  }
  if (k_) result.k = split_heads(clipped(parts[1]), spec_.kv_heads);
  if (k_) result.v = v_ ? split_heads(clipped(parts[2]), spec_.kv_heads) : result.k;
  return result;
}

mx::array Attention::clipped(const mx::array& x) const {
  if (spec_.clip == 0) return x;
  return mx::clip(x, scalar(-spec_.clip, x), scalar(spec_.clip, x));
}

/// Over each head, or over all heads where the weight is as long as they are together.
mx::array Attention::normed(const Norm& norm, const mx::array& x) const {
  if (!norm) return x;
  const bool whole = norm.weight && norm.weight->ndim() == 1 && x.shape(2) > 1 &&
                     norm.weight->shape(0) == x.shape(2) * x.shape(3);
  return whole ? reshaped(norm(flat(x)), x.shape()) : norm(x);
}

/// [1, length, heads, size] to [1, heads, length, size], normed and rotated.
mx::array Attention::positioned(const Norm& norm, const mx::array& x, const Pass& pass) const {
  if (!spec_.norm_after_rope) return rope_(swapped(normed(norm, x)), pass.offset);
  return swapped(normed(norm, swapped(rope_(swapped(x), pass.offset))));
}

KeysValues Attention::keys_and_values(const Projected& projected, const mx::array& x,
                                      Pass& pass) const {
  if (spec_.shares >= 0) return pass.shared.at(spec_.shares);
  const mx::array keys = positioned(k_norm_, *projected.k, pass);
  mx::array values = swapped(normed(v_norm_, *projected.v));
  if (spec_.value_scale != 1) values = mx::multiply(values, scalar(spec_.value_scale, values));
  std::optional<mx::array> index;
  if (indexer_) index = indexer_->keys(x, pass.offset);
  KeysValues kv = static_cast<KvState*>(pass.state)->append(keys, values, index);
  pass.shared.insert_or_assign(pass.layer, kv);
  return kv;
}

mx::array Attention::attended(const mx::array& queries, const KeysValues& kv, const mx::array& x,
                              Pass& pass) const {
  // In a cache of limited size places count, not positions: what was forgotten leaves no gap.
  const int offset = kv.limit > 0 ? kv.length - pass.length : pass.offset;
  const std::int64_t window = kv.limit > 0 ? kv.limit : spec_.window;
  const auto key = std::tuple(offset, window, spec_.chunk, kv.length);
  if (!pass.masks.contains(key)) {
    pass.masks.emplace(key, causal_mask(offset, pass.length, kv.length, window, spec_.chunk));
  }
  const std::optional<mx::array>& mask = pass.masks.at(key);
  const AttendOptions options{spec_.scale, spec_.softcap, sinks_};
  std::optional<mx::array> narrowed;
  if (indexer_) narrowed = indexer_->narrowed(mask, x, *kv.index, pass.offset);
  if (!narrowed) return attend(queries, kv, mask, options);
  // Each of the indexer's heads has chosen for a run of heads.
  const mx::array chosen = settled(*narrowed);
  const int groups = chosen.shape(0);
  std::vector<mx::array> outputs;
  for (int g = 0; g < groups; ++g) {
    const auto part = [&](const mx::array& heads) {
      const int n = heads.shape(1) / groups;
      return section(heads, 1, g * n, (g + 1) * n);
    };
    KeysValues own = kv;
    for (mx::array& keys : own.keys) keys = part(keys);
    for (mx::array& values : own.values) values = part(values);
    const mx::array seen = reshaped(section(chosen, 0, g, g + 1), {pass.length, kv.length});
    outputs.push_back(attend(part(queries), own, seen, options));
  }
  return mx::concatenate(outputs, 1);
}

mx::array Attention::run(const mx::array& x, Pass& pass) const {
  Projected projected = project(x);
  if (spec_.borrows) {
    std::tie(projected.k, projected.v) = *pass.projected;
  } else if (projected.k) {
    pass.projected = std::pair(*projected.k, projected.v);
  }
  mx::array queries = tempered(positioned(q_norm_, projected.q, pass), spec_.temperature, pass);
  if (spec_.tiled) queries = regrouped(queries, static_cast<int>(spec_.heads / spec_.kv_heads));
  const KeysValues kv = keys_and_values(projected, x, pass);
  mx::array out = attended(queries, kv, x, pass);
  if (spec_.tiled) out = regrouped(out, static_cast<int>(spec_.kv_heads));
  out = flat(swapped(out));
  std::optional<mx::array> gate = projected.gate;
  if (gate_) gate = apply(*gate_, x);
  if (gate) {
    mx::array factor = activate(spec_.gate_activation, *gate);
    // One factor for each head, or for each element.
    if (factor.shape(-1) != out.shape(-1)) {
      factor = mx::repeat(factor, out.shape(-1) / factor.shape(-1), -1);
    }
    out = mx::multiply(out, factor);
  }
  return apply(*o_, out);
}

}  // namespace

Result<BlockPointer> make_block(const AttentionSpec& spec, const Weights& weights) {
  auto block = std::make_unique<Attention>(spec);
  MLXMILL_TRY(block->build(weights));
  return BlockPointer(std::move(block));
}

}  // namespace mlxmill::runtime
