#include "runtime/block_indexer.h"

#include <limits>

namespace mlxmill::runtime {

Result<BlockIndexer> BlockIndexer::build(const architectures::BlockIndexerSpec& spec,
                                         const Weights& weights) {
  MLXMILL_ASSIGN(Linear q, weights.linear(spec.q));
  MLXMILL_ASSIGN(Linear k, weights.linear(spec.k));
  BlockIndexer indexer(spec, std::move(q), std::move(k));
  MLXMILL_ASSIGN(indexer.q_norm_, weights.norm(spec.q_norm));
  MLXMILL_ASSIGN(indexer.k_norm_, weights.norm(spec.k_norm));
  return indexer;
}

mx::array BlockIndexer::keys(const mx::array& x, int offset) const {
  return rope_(mx::expand_dims(k_norm_(apply(k_, x)), 1), offset);
}

// Source: transformers modeling_minimax_m3_vl.py MiniMaxM3VLIndexer.
std::optional<mx::array> BlockIndexer::narrowed(const std::optional<mx::array>& mask,
                                                const mx::array& x, const mx::array& keys,
                                                int offset) const {
  const int n = keys.shape(2);
  const int length = x.shape(1);
  const auto heads = static_cast<int>(spec_.heads);
  const auto block = static_cast<int>(spec_.block);
  const int blocks = n / block + (n % block != 0 ? 1 : 0);
  if (blocks <= spec_.top) return std::nullopt;
  const mx::array split = q_norm_(mx::reshape(apply(q_, x), {1, length, heads, -1}));
  const mx::array q = mx::astype(rope_(mx::transpose(split, {0, 2, 1, 3}), offset), mx::float32);
  const mx::array low(-std::numeric_limits<float>::infinity());
  mx::array scores = mx::matmul(q, mx::swapaxes(mx::astype(keys, mx::float32), -1, -2));
  if (mask) scores = mx::where(*mask, scores, low);
  if (const int missing = blocks * block - n; missing > 0) {
    scores = mx::concatenate({scores, mx::full({1, heads, length, missing}, low)}, -1);
  }
  scores = mx::max(mx::reshape(scores, {heads, length, blocks, block}), -1);
  const mx::array numbers = mx::arange(blocks);
  const mx::array own = mx::floor_divide(
      mx::reshape(mx::arange(offset, offset + length), {length, 1}), mx::array(block));
  const mx::array first = mx::subtract(own, mx::array(static_cast<int>(spec_.local)));
  const mx::array local =
      mx::logical_and(mx::less_equal(numbers, own), mx::greater(numbers, first));
  scores = mx::where(local, mx::negative(low), scores);
  const auto top = static_cast<int>(spec_.top);
  const mx::array best = mx::slice(mx::argpartition(mx::negative(scores), top - 1, -1), {0, 0, 0},
                                   {heads, length, top});
  const mx::array chosen =
      mx::put_along_axis(mx::zeros({heads, length, blocks}, mx::bool_), best, mx::array(true), -1);
  const mx::array of_keys = mx::slice(mx::repeat(chosen, block, -1), {0, 0, 0}, {heads, length, n});
  return mask ? mx::logical_and(of_keys, *mask) : of_keys;
}

}  // namespace mlxmill::runtime
