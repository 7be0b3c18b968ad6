// delta_net = { ... } and short_conv = { ... } of a step.
#include "architectures/forward/parse.h"

namespace mlxmill::architectures {
namespace {

/// Whether exactly one way is given to get at each part.
bool complete(const DeltaNetSpec& spec) {
  const auto all = [](auto&... paths) { return (!paths.empty() && ...); };
  const bool fused = all(spec.qkvz, spec.ba);
  const bool one = all(spec.qkv, spec.z, spec.b, spec.a);
  const bool three = all(spec.q, spec.k, spec.v, spec.z, spec.b, spec.a);
  const bool convs = all(spec.q_conv, spec.k_conv, spec.v_conv);
  return int{fused} + int{one} + int{three} == 1 && spec.conv.empty() == convs;
}

}  // namespace

Result<DeltaNetSpec> parse_delta_net(Form& form) {
  DeltaNetSpec spec;
  MLXMILL_ASSIGN(spec.qkv, form.path("qkv"));
  MLXMILL_ASSIGN(spec.z, form.path("z"));
  MLXMILL_ASSIGN(spec.b, form.path("b"));
  MLXMILL_ASSIGN(spec.a, form.path("a"));
  MLXMILL_ASSIGN(spec.qkvz, form.path("qkvz"));
  MLXMILL_ASSIGN(spec.ba, form.path("ba"));
  MLXMILL_ASSIGN(spec.q, form.path("q"));
  MLXMILL_ASSIGN(spec.k, form.path("k"));
  MLXMILL_ASSIGN(spec.v, form.path("v"));
  MLXMILL_ASSIGN(spec.conv, form.path("conv"));
  MLXMILL_ASSIGN(spec.q_conv, form.path("q_conv"));
  MLXMILL_ASSIGN(spec.k_conv, form.path("k_conv"));
  MLXMILL_ASSIGN(spec.v_conv, form.path("v_conv"));
  MLXMILL_ASSIGN(spec.a_low, form.path("a_low"));
  MLXMILL_ASSIGN(spec.z_low, form.path("z_low"));
  MLXMILL_ASSIGN(spec.gate_activation, form.activation("gate_activation", Activation::kSilu));
  MLXMILL_ASSIGN(spec.beta_scale, form.number("beta_scale", 1));
  MLXMILL_ASSIGN(spec.a_log, form.needed_path("a_log"));
  MLXMILL_ASSIGN(spec.dt_bias, form.needed_path("dt_bias"));
  MLXMILL_ASSIGN(spec.norm, form.norm("norm"));
  MLXMILL_ASSIGN(spec.out, form.needed_path("out"));
  MLXMILL_ASSIGN(spec.key_heads, form.count("key_heads"));
  MLXMILL_ASSIGN(spec.value_heads, form.count("value_heads"));
  MLXMILL_ASSIGN(spec.key_dim, form.count("key_dim"));
  MLXMILL_ASSIGN(spec.value_dim, form.count("value_dim"));
  MLXMILL_ASSIGN(spec.kernel, form.count("kernel"));
  if (!complete(spec)) {
    return form.error(
        "delta_net needs qkvz and ba; or z, b, a, and qkv or q, k and v; and conv, or q_conv, "
        "k_conv "
        "and v_conv");
  }
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
