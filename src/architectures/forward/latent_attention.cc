// latent_attention = { ... } of a step.
#include <cmath>

#include "architectures/forward/parse.h"

namespace mlxmill::architectures {
namespace {

Result<IndexerSpec> parse_indexer(Form& form) {
  IndexerSpec spec;
  MLXMILL_ASSIGN(spec.q, form.needed_path("q"));
  MLXMILL_ASSIGN(spec.k, form.needed_path("k"));
  MLXMILL_ASSIGN(spec.k_norm, form.norm("k_norm"));
  MLXMILL_ASSIGN(spec.weights, form.needed_path("weights"));
  MLXMILL_ASSIGN(spec.heads, form.count("heads"));
  MLXMILL_ASSIGN(spec.dim, form.count("dim"));
  MLXMILL_ASSIGN(spec.top, form.count("top"));
  MLXMILL_ASSIGN(spec.rope, form.rope("rope"));
  MLXMILL_TRY(form.finish());
  if (spec.rope.dims > spec.dim) return form.error("rope.dims is more than dim");
  return spec;
}

}  // namespace

Result<LatentAttentionSpec> parse_latent_attention(Form& form) {
  LatentAttentionSpec spec;
  MLXMILL_ASSIGN(spec.q, form.path("q"));
  MLXMILL_ASSIGN(spec.q_a, form.path("q_a"));
  MLXMILL_ASSIGN(spec.q_b, form.path("q_b"));
  MLXMILL_ASSIGN(spec.q_norm, form.norm("q_norm"));
  MLXMILL_ASSIGN(spec.kv_a, form.needed_path("kv_a"));
  MLXMILL_ASSIGN(spec.kv_norm, form.norm("kv_norm"));
  MLXMILL_ASSIGN(spec.embed_q, form.path("embed_q"));
  MLXMILL_ASSIGN(spec.unembed, form.path("unembed"));
  MLXMILL_ASSIGN(spec.kv_b, form.path("kv_b"));
  MLXMILL_ASSIGN(spec.o, form.needed_path("o"));
  const bool has_q = spec.q.empty() != spec.q_b.empty() && spec.q_a.empty() == spec.q_b.empty();
  const bool has_kv =
      spec.kv_b.empty() != spec.embed_q.empty() && spec.embed_q.empty() == spec.unembed.empty();
  if (!has_q || !has_kv) {
    return form.error("latent_attention needs q, or q_a and q_b; and kv_b, or embed_q and unembed");
  }
  MLXMILL_ASSIGN(spec.heads, form.count("heads"));
  MLXMILL_ASSIGN(spec.rank, form.count("rank"));
  MLXMILL_ASSIGN(spec.nope_dim, form.count("nope_dim"));
  MLXMILL_ASSIGN(spec.rope_dim, form.count("rope_dim"));
  MLXMILL_ASSIGN(spec.value_dim, form.count("value_dim"));
  const auto size = static_cast<double>(spec.nope_dim + spec.rope_dim);
  MLXMILL_ASSIGN(spec.scale, form.number("scale", 1 / std::sqrt(size)));
  MLXMILL_ASSIGN(spec.rope, form.rope("rope"));
  if (spec.rope.dims > spec.rope_dim) return form.error("rope.dims is more than rope_dim");
  MLXMILL_ASSIGN(spec.temperature, form.temperature("temperature"));
  MLXMILL_ASSIGN(const auto indexer, form.form("indexer"));
  if (indexer) {
    Form table = *indexer;
    MLXMILL_ASSIGN(IndexerSpec parsed, parse_indexer(table));
    spec.indexer = std::move(parsed);
    if (spec.q_a.empty()) return form.error("an indexer needs q_a and q_b");
  }
  return spec;
}

}  // namespace mlxmill::architectures
