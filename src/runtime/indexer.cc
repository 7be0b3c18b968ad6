#include "runtime/indexer.h"

#include <cmath>
#include <limits>

namespace mlxmill::runtime {

Result<Indexer> Indexer::build(const architectures::IndexerSpec& spec, const Weights& weights) {
  MLXMILL_ASSIGN(Linear q, weights.linear(spec.q));
  MLXMILL_ASSIGN(Linear k, weights.linear(spec.k));
  MLXMILL_ASSIGN(Linear head_weights, weights.linear(spec.weights));
  Indexer indexer(spec, std::move(q), std::move(k), std::move(head_weights));
  MLXMILL_ASSIGN(indexer.k_norm_, weights.norm(spec.k_norm));
  return indexer;
}

mx::array Indexer::keys(const mx::array& x, int offset) const {
  return rope_(mx::expand_dims(k_norm_(apply(k_, x)), 1), offset);
}

std::optional<mx::array> Indexer::narrowed(const std::optional<mx::array>& mask, const mx::array& x,
                                           const mx::array& latent, const mx::array& keys,
                                           int offset) const {
  const int n = keys.shape(2);
  const int length = x.shape(1);
  if (n <= spec_.top) return mask;
  const auto heads = static_cast<int>(spec_.heads);
  const mx::array split = mx::reshape(apply(q_, latent), {1, length, heads, -1});
  const mx::array q = mx::astype(rope_(mx::transpose(split, {0, 2, 1, 3}), offset), mx::float32);
  mx::array scores = mx::matmul(q, mx::swapaxes(mx::astype(keys, mx::float32), -1, -2));
  scores = mx::maximum(scores, mx::array(0.0F));
  // Factors that are the same for all keys change no order.
  const mx::array shares = mx::swapaxes(mx::astype(apply(weights_, x), mx::float32), -1, -2);
  scores = mx::sum(mx::multiply(scores, mx::expand_dims(shares, -1)), 1);
  scores = mx::reshape(scores, {length, n});
  if (mask) {
    scores = mx::where(*mask, scores, mx::array(-std::numeric_limits<float>::infinity()));
  }
  const auto top = static_cast<int>(spec_.top);
  const mx::array best =
      mx::slice(mx::argpartition(mx::negative(scores), top - 1, -1), {0, 0}, {length, top});
  const mx::array chosen =
      mx::put_along_axis(mx::zeros({length, n}, mx::bool_), best, mx::array(true), -1);
  return mask ? mx::logical_and(chosen, *mask) : chosen;
}

}  // namespace mlxmill::runtime
