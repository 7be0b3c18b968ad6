// mamba2 = { ... } and mamba = { ... } of a step.
#include "architectures/forward/parse.h"

namespace mlxmill::architectures {
namespace {

/// dt_limit: a list of the least and the largest. What is no number there is no bound, as
/// transformers writes an infinite one as an object.
Status parse_limit(Form& form, Mamba2Spec& spec) {
  MLXMILL_ASSIGN(const base::Value limit, form.value("dt_limit"));
  if (limit.is_null()) return {};
  const base::Array* list = limit.as_array();
  if (!list || list->size() != 2) return form.error("dt_limit is a list of two");
  const auto number = [&](std::size_t i, double fallback) {
    if (const auto* integer = (*list)[i].as_int()) return static_cast<double>(*integer);
    const double* real = (*list)[i].as_float();
    return real ? *real : fallback;
  };
  spec.dt_min = number(0, spec.dt_min);
  spec.dt_max = number(1, spec.dt_max);
  return {};
}

}  // namespace

Result<Mamba2Spec> parse_mamba2(Form& form) {
  Mamba2Spec spec;
  MLXMILL_ASSIGN(spec.in, form.needed_path("in"));
  MLXMILL_ASSIGN(spec.conv, form.needed_path("conv"));
  MLXMILL_ASSIGN(spec.a_log, form.needed_path("a_log"));
  MLXMILL_ASSIGN(spec.dt_bias, form.needed_path("dt_bias"));
  MLXMILL_ASSIGN(spec.d, form.needed_path("d"));
  MLXMILL_ASSIGN(spec.norm, form.norm("norm"));
  MLXMILL_ASSIGN(spec.norm_groups, form.integer("norm_groups", 1));
  MLXMILL_ASSIGN(spec.norm_first, form.condition("norm_first", false));
  MLXMILL_ASSIGN(spec.out, form.needed_path("out"));
  MLXMILL_ASSIGN(spec.heads, form.count("heads"));
  MLXMILL_ASSIGN(spec.head_dim, form.count("head_dim"));
  MLXMILL_ASSIGN(spec.groups, form.count("groups"));
  MLXMILL_ASSIGN(spec.state, form.count("state"));
  MLXMILL_ASSIGN(spec.kernel, form.count("kernel"));
  MLXMILL_TRY(parse_limit(form, spec));
  if (spec.heads % spec.groups != 0 || spec.norm_groups < 1 ||
      spec.heads * spec.head_dim % spec.norm_groups != 0) {
    return form.error("heads must be a multiple of groups, and what is normed of norm_groups");
  }
  return spec;
}

Result<MambaSpec> parse_mamba(Form& form) {
  MambaSpec spec;
  MLXMILL_ASSIGN(spec.in, form.needed_path("in"));
  MLXMILL_ASSIGN(spec.conv, form.needed_path("conv"));
  MLXMILL_ASSIGN(spec.x, form.needed_path("x"));
  MLXMILL_ASSIGN(spec.dt_norm, form.norm("dt_norm"));
  MLXMILL_ASSIGN(spec.b_norm, form.norm("b_norm"));
  MLXMILL_ASSIGN(spec.c_norm, form.norm("c_norm"));
  MLXMILL_ASSIGN(spec.dt, form.needed_path("dt"));
  MLXMILL_ASSIGN(spec.a_log, form.needed_path("a_log"));
  MLXMILL_ASSIGN(spec.d, form.needed_path("d"));
  MLXMILL_ASSIGN(spec.out, form.needed_path("out"));
  MLXMILL_ASSIGN(spec.channels, form.count("channels"));
  MLXMILL_ASSIGN(spec.rank, form.count("rank"));
  MLXMILL_ASSIGN(spec.state, form.count("state"));
  MLXMILL_ASSIGN(spec.kernel, form.count("kernel"));
  return spec;
}

}  // namespace mlxmill::architectures
