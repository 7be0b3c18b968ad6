// time_mix = { ... } and channel_mix = { ... } of a step.
#include "architectures/forward/parse.h"

namespace mlxmill::architectures {

Result<TimeMixSpec> parse_time_mix(Form& form) {
  TimeMixSpec spec;
  for (const auto& [key, path] :
       {std::pair("r", &spec.r), std::pair("k", &spec.k), std::pair("v", &spec.v),
        std::pair("o", &spec.o), std::pair("w_in", &spec.w_in), std::pair("w_out", &spec.w_out),
        std::pair("a_in", &spec.a_in), std::pair("a_out", &spec.a_out),
        std::pair("g_in", &spec.g_in), std::pair("g_out", &spec.g_out), std::pair("x_r", &spec.x_r),
        std::pair("x_w", &spec.x_w), std::pair("x_k", &spec.x_k), std::pair("x_v", &spec.x_v),
        std::pair("x_a", &spec.x_a), std::pair("x_g", &spec.x_g), std::pair("k_k", &spec.k_k),
        std::pair("k_a", &spec.k_a), std::pair("r_k", &spec.r_k)}) {
    MLXMILL_ASSIGN(*path, form.needed_path(key));
  }
  MLXMILL_ASSIGN(spec.v_in, form.path("v_in"));
  MLXMILL_ASSIGN(spec.v_out, form.path("v_out"));
  if (spec.v_in.empty() != spec.v_out.empty()) {
    return form.error("time_mix needs both of v_in and v_out, or none");
  }
  MLXMILL_ASSIGN(spec.norm, form.norm("norm"));
  MLXMILL_ASSIGN(spec.heads, form.count("heads"));
  MLXMILL_ASSIGN(spec.head_dim, form.count("head_dim"));
  return spec;
}

Result<ChannelMixSpec> parse_channel_mix(Form& form) {
  ChannelMixSpec spec;
  MLXMILL_ASSIGN(spec.key, form.needed_path("key"));
  MLXMILL_ASSIGN(spec.value, form.needed_path("value"));
  MLXMILL_ASSIGN(spec.x_k, form.needed_path("x_k"));
  MLXMILL_ASSIGN(spec.hidden, form.count("hidden"));
  return spec;
}

}  // namespace mlxmill::architectures
