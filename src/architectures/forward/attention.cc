// attention = { ... } of a step.
#include <cmath>

#include "architectures/forward/parse.h"

namespace mlxmill::architectures {
namespace {

Status parse_projections(Form& form, AttentionSpec& spec) {
  MLXMILL_ASSIGN(spec.qkv, form.path("qkv"));
  MLXMILL_ASSIGN(spec.q, form.path("q"));
  MLXMILL_ASSIGN(spec.k, form.path("k"));
  MLXMILL_ASSIGN(spec.v, form.path("v"));
  MLXMILL_ASSIGN(spec.o, form.needed_path("o"));
  MLXMILL_ASSIGN(const std::size_t order,
                 form.word("order", {"blocks", "heads", "groups", "gated"}));
  spec.order = static_cast<QkvOrder>(order);
  MLXMILL_ASSIGN(spec.shares, form.integer("shares", -1));
  MLXMILL_ASSIGN(spec.borrows, form.condition("borrows", false));
  const bool has_k = !spec.k.empty() || spec.shares >= 0 || spec.borrows;
  // Without v the keys before their norm and rotation are the values.
  const bool complete = spec.qkv.empty() ? !spec.q.empty() && has_k
                                         : spec.q.empty() && spec.k.empty() && spec.v.empty();
  if (!complete) return form.error("attention needs q, k and v, or qkv");
  return {};
}

Status parse_sizes(Form& form, AttentionSpec& spec) {
  MLXMILL_ASSIGN(spec.heads, form.count("heads"));
  MLXMILL_ASSIGN(spec.kv_heads, form.integer("kv_heads", spec.heads));
  MLXMILL_ASSIGN(spec.head_dim, form.count("head_dim"));
  MLXMILL_ASSIGN(spec.value_dim, form.integer("value_dim", spec.head_dim));
  if (spec.kv_heads < 1 || spec.heads % spec.kv_heads != 0 || spec.value_dim < 1 ||
      spec.value_dim > 10'000'000) {
    return form.error("heads must be a multiple of kv_heads");
  }
  MLXMILL_ASSIGN(spec.scale,
                 form.number("scale", 1 / std::sqrt(static_cast<double>(spec.head_dim))));
  return {};
}

Status parse_masks(Form& form, AttentionSpec& spec) {
  MLXMILL_ASSIGN(spec.window, form.integer("window", 0));
  MLXMILL_ASSIGN(spec.chunk, form.integer("chunk", 0));
  if (spec.window < 0 || spec.chunk < 0) return form.error("a window is 0 or larger");
  MLXMILL_ASSIGN(spec.sinks, form.path("sinks"));
  MLXMILL_ASSIGN(spec.softcap, form.number("softcap", 0));
  MLXMILL_ASSIGN(spec.clip, form.number("clip", 0));
  MLXMILL_ASSIGN(spec.value_scale, form.number("value_scale", 1));
  MLXMILL_ASSIGN(spec.tiled, form.condition("tiled", false));
  return {};
}

Result<BlockIndexerSpec> parse_block_indexer(Form& form) {
  BlockIndexerSpec spec;
  MLXMILL_ASSIGN(spec.q, form.needed_path("q"));
  MLXMILL_ASSIGN(spec.k, form.needed_path("k"));
  MLXMILL_ASSIGN(spec.q_norm, form.norm("q_norm"));
  MLXMILL_ASSIGN(spec.k_norm, form.norm("k_norm"));
  MLXMILL_ASSIGN(spec.heads, form.count("heads"));
  MLXMILL_ASSIGN(spec.dim, form.count("dim"));
  MLXMILL_ASSIGN(spec.block, form.count("block"));
  MLXMILL_ASSIGN(spec.top, form.count("top"));
  MLXMILL_ASSIGN(spec.local, form.integer("local", 0));
  MLXMILL_ASSIGN(spec.rope, form.rope("rope"));
  MLXMILL_TRY(form.finish());
  if (spec.rope.dims > spec.dim) return form.error("rope.dims is more than dim");
  if (spec.local < 0 || spec.local > spec.top) return form.error("local is from 0 to top");
  return spec;
}

/// The choice of keys is one of all there are, by groups of this block's own heads.
Status add_indexer(Form& form, AttentionSpec& spec) {
  MLXMILL_ASSIGN(const auto indexer, form.form("indexer"));
  if (!indexer) return {};
  Form table = *indexer;
  MLXMILL_ASSIGN(BlockIndexerSpec parsed, parse_block_indexer(table));
  if (spec.kv_heads % parsed.heads != 0) {
    return table.error("kv_heads must be a multiple of the indexer's heads");
  }
  if (spec.window > 0 || spec.chunk > 0 || spec.shares >= 0 || spec.tiled || !spec.sinks.empty()) {
    return table.error(
        "an indexer is for attention without window, chunk, shares, tiled and sinks");
  }
  spec.indexer = std::move(parsed);
  return {};
}

}  // namespace

Result<AttentionSpec> parse_attention(Form& form) {
  AttentionSpec spec;
  MLXMILL_TRY(parse_projections(form, spec));
  MLXMILL_TRY(parse_sizes(form, spec));
  MLXMILL_TRY(parse_masks(form, spec));
  MLXMILL_ASSIGN(spec.q_norm, form.norm("q_norm"));
  MLXMILL_ASSIGN(spec.k_norm, form.norm("k_norm"));
  MLXMILL_ASSIGN(spec.v_norm, form.norm("v_norm"));
  MLXMILL_ASSIGN(spec.norm_after_rope, form.condition("norm_after_rope", false));
  MLXMILL_ASSIGN(spec.rope, form.rope("rope"));
  if (spec.rope.dims > spec.head_dim) return form.error("rope.dims is more than a head has");
  MLXMILL_ASSIGN(spec.gate, form.path("gate"));
  MLXMILL_ASSIGN(spec.gate_activation, form.activation("gate_activation", Activation::kSigmoid));
  MLXMILL_ASSIGN(spec.temperature, form.temperature("temperature"));
  MLXMILL_TRY(add_indexer(form, spec));
  return spec;
}

}  // namespace mlxmill::architectures
