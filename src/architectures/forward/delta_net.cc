// delta_net = { ... } and short_conv = { ... } of a step.
#include "architectures/forward/parse.h"

namespace mlxmill::architectures {

Result<DeltaNetSpec> parse_delta_net(Form& form) {
  DeltaNetSpec spec;
  MLXMILL_ASSIGN(spec.qkv, form.path("qkv"));
  MLXMILL_ASSIGN(spec.z, form.path("z"));
  MLXMILL_ASSIGN(spec.b, form.path("b"));
  MLXMILL_ASSIGN(spec.a, form.path("a"));
  MLXMILL_ASSIGN(spec.qkvz, form.path("qkvz"));
  MLXMILL_ASSIGN(spec.ba, form.path("ba"));
  MLXMILL_ASSIGN(spec.conv, form.needed_path("conv"));
  MLXMILL_ASSIGN(spec.a_log, form.needed_path("a_log"));
  MLXMILL_ASSIGN(spec.dt_bias, form.needed_path("dt_bias"));
  MLXMILL_ASSIGN(spec.norm, form.norm("norm"));
  MLXMILL_ASSIGN(spec.out, form.needed_path("out"));
  MLXMILL_ASSIGN(spec.key_heads, form.count("key_heads"));
  MLXMILL_ASSIGN(spec.value_heads, form.count("value_heads"));
  MLXMILL_ASSIGN(spec.key_dim, form.count("key_dim"));
  MLXMILL_ASSIGN(spec.value_dim, form.count("value_dim"));
  MLXMILL_ASSIGN(spec.kernel, form.count("kernel"));
  const bool four = !spec.qkv.empty() && !spec.z.empty() && !spec.b.empty() && !spec.a.empty();
  const bool two = !spec.qkvz.empty() && !spec.ba.empty();
  if (four == two) return form.error("delta_net needs qkv, z, b and a; or qkvz and ba");
  if (spec.value_heads % spec.key_heads != 0) {
    return form.error("value_heads must be a multiple of key_heads");
  }
  return spec;
}

Result<ShortConvSpec> parse_short_conv(Form& form) {
  ShortConvSpec spec;
  MLXMILL_ASSIGN(spec.in, form.needed_path("in"));
  MLXMILL_ASSIGN(spec.conv, form.needed_path("conv"));
  MLXMILL_ASSIGN(spec.out, form.needed_path("out"));
  MLXMILL_ASSIGN(spec.channels, form.count("channels"));
  MLXMILL_ASSIGN(spec.kernel, form.count("kernel"));
  return spec;
}

}  // namespace mlxmill::architectures
