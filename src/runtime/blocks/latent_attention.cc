// Latent attention: only the short vector and the rotated part of the keys are remembered.
#include "runtime/attend.h"
#include "runtime/block.h"
#include "runtime/indexer.h"
#include "runtime/temperature.h"

namespace mlxmill::runtime {
namespace {

using architectures::LatentAttentionSpec;

mx::array heads_first(const mx::array& x) { return mx::transpose(x, {0, 2, 1, 3}); }

class LatentAttention final : public Block {
 public:
  explicit LatentAttention(const LatentAttentionSpec& spec) : spec_(spec), rope_(spec.rope) {}

  Status build(const Weights& weights) {
    MLXMILL_ASSIGN(q_, weights.linear_if(spec_.q));
    MLXMILL_ASSIGN(q_a_, weights.linear_if(spec_.q_a));
    MLXMILL_ASSIGN(q_b_, weights.linear_if(spec_.q_b));
    MLXMILL_ASSIGN(kv_a_, weights.linear_if(spec_.kv_a));
    MLXMILL_ASSIGN(embed_q_, weights.linear_if(spec_.embed_q));
    MLXMILL_ASSIGN(unembed_, weights.linear_if(spec_.unembed));
    MLXMILL_ASSIGN(kv_b_, weights.linear_if(spec_.kv_b));
    MLXMILL_ASSIGN(o_, weights.linear_if(spec_.o));
    MLXMILL_ASSIGN(q_norm_, weights.norm(spec_.q_norm));
    MLXMILL_ASSIGN(kv_norm_, weights.norm(spec_.kv_norm));
    if (spec_.indexer) {
      MLXMILL_ASSIGN(indexer_, Indexer::build(*spec_.indexer, weights));
    }
    return {};
  }

  std::unique_ptr<State> new_state(const StateOptions& options) const override {
    // The vectors are small already, and every head is made from them: they stay as they are.
    StateOptions plain = options;
    plain.kv_bits.reset();
    plain.max_size = 0;
    return std::make_unique<KvState>(plain, 0);
  }

  mx::array run(const mx::array& x, Pass& pass) const override {
    const mx::array from = q_ ? x : q_norm_(apply(*q_a_, x));
    const auto [q_nope, q_rope] = queries(from, pass);
    const auto parts = mx::split(apply(*kv_a_, x), mx::Shape{int_of(spec_.rank)}, -1);
    const mx::array latent = mx::expand_dims(kv_norm_(parts[0]), 1);
    const mx::array k_rope = rope_(mx::expand_dims(parts[1], 1), pass.offset);
    KeysValues kept = remembered(x, latent, k_rope, pass);
    auto mask = causal_mask(pass.offset, pass.length, kept.length, 0, 0);
    if (indexer_) {
      const auto values = mx::split(kept.values[0], mx::Shape{int_of(spec_.rope_dim)}, -1);
      kept.values = {values[0]};
      mask = indexer_->narrowed(mask, x, from, values[1], pass.offset);
    }
    const mx::array out = embed_q_ && pass.length == 1 ? absorbed(q_nope, q_rope, kept, mask)
                                                       : expanded(q_nope, q_rope, kept, mask);
    return apply(*o_, mx::reshape(heads_first(out), {1, pass.length, -1}));
  }

 private:
  static int int_of(std::int64_t n) { return static_cast<int>(n); }

  /// The indexer's keys stand behind the rotated ones.
  KeysValues remembered(const mx::array& x, const mx::array& latent, const mx::array& k_rope,
                        const Pass& pass) const {
    auto& state = *static_cast<KvState*>(pass.state);
    if (!indexer_) return state.append(latent, k_rope);
    return state.append(latent, mx::concatenate({k_rope, indexer_->keys(x, pass.offset)}, -1));
  }

  /// Both parts [1, heads, length, ...], from x or what q_a makes of it.
  std::pair<mx::array, mx::array> queries(const mx::array& from, const Pass& pass) const {
    mx::array q = apply(q_ ? *q_ : *q_b_, from);
    q = heads_first(mx::reshape(q, {1, pass.length, int_of(spec_.heads), -1}));
    const auto parts = mx::split(q, mx::Shape{int_of(spec_.nope_dim)}, -1);
    const mx::array rotated = rope_(parts[1], pass.offset);
    return {tempered(parts[0], spec_.temperature, pass),
            tempered(rotated, spec_.temperature, pass)};
  }

  /// Heads work on the vectors themselves: for one token that reads less than making their keys.
  mx::array absorbed(const mx::array& q_nope, const mx::array& q_rope, const KeysValues& kept,
                     const std::optional<mx::array>& mask) const {
    KeysValues kv = kept;
    kv.keys = {mx::concatenate({kept.keys[0], kept.values[0]}, -1)};
    kv.values = kept.keys;
    const mx::array q = mx::concatenate({apply(*embed_q_, q_nope), q_rope}, -1);
    return apply(*unembed_, attend(q, kv, mask, {spec_.scale, 0, std::nullopt}));
  }

  mx::array expanded(const mx::array& q_nope, const mx::array& q_rope, const KeysValues& kept,
                     const std::optional<mx::array>& mask) const {
    const auto [k_nope, values] = keys_and_values(kept.keys[0]);
    mx::Shape shape = k_nope.shape();
    shape[3] = int_of(spec_.rope_dim);
    KeysValues kv = kept;
    kv.keys = {mx::concatenate({k_nope, mx::broadcast_to(kept.values[0], shape)}, -1)};
    kv.values = {values};
    return attend(mx::concatenate({q_nope, q_rope}, -1), kv, mask, {spec_.scale, 0, std::nullopt});
  }

  /// Of every head, [1, heads, keys, ...].
  std::pair<mx::array, mx::array> keys_and_values(const mx::array& latent) const {
    if (embed_q_) return {apply_transposed(*embed_q_, latent), apply(*unembed_, latent)};
    const mx::array both = apply(*kv_b_, mx::squeeze(latent, 1));
    const auto parts =
        mx::split(heads_first(mx::reshape(both, {1, both.shape(1), int_of(spec_.heads), -1})),
                  mx::Shape{int_of(spec_.nope_dim)}, -1);
    return {parts[0], parts[1]};
  }

  LatentAttentionSpec spec_;
  Rope rope_;
  std::optional<Linear> q_, q_a_, q_b_, kv_a_, embed_q_, unembed_, kv_b_, o_;
  Norm q_norm_, kv_norm_;
  std::optional<Indexer> indexer_;
};

}  // namespace

Result<BlockPointer> make_block(const LatentAttentionSpec& spec, const Weights& weights) {
  auto block = std::make_unique<LatentAttention>(spec);
  MLXMILL_TRY(block->build(weights));
  return BlockPointer(std::move(block));
}

}  // namespace mlxmill::runtime
