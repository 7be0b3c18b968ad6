// mlp = { ... } and moe = { ... } of a step.
#include "architectures/forward/parse.h"

namespace mlxmill::architectures {

Result<MlpSpec> parse_mlp(Form& form) {
  MlpSpec spec;
  MLXMILL_ASSIGN(spec.gate, form.path("gate"));
  MLXMILL_ASSIGN(spec.up, form.path("up"));
  MLXMILL_ASSIGN(spec.gate_up, form.path("gate_up"));
  MLXMILL_ASSIGN(spec.down, form.needed_path("down"));
  MLXMILL_ASSIGN(spec.up_first, form.condition("up_first", false));
  MLXMILL_ASSIGN(spec.activation, form.activation("activation", Activation::kSilu));
  MLXMILL_ASSIGN(spec.sparsity, form.number("sparsity", 0));
  if (!(spec.sparsity >= 0 && spec.sparsity < 1) || (spec.sparsity > 0 && spec.gate.empty())) {
    return form.error("sparsity is from 0 to below 1, of an mlp with a gate of its own");
  }
  MLXMILL_ASSIGN(spec.limit, form.number("limit", 0));
  MLXMILL_ASSIGN(spec.clamp, form.number("clamp", 0));
  MLXMILL_ASSIGN(spec.alpha, form.number("alpha", 0));
  const bool has_gate = !spec.gate.empty() || !spec.gate_up.empty();
  if (spec.clamp != 0 && (!has_gate || spec.limit != 0 || spec.sparsity != 0)) {
    return form.error("clamp is for an mlp with a gate, without limit and sparsity");
  }
  MLXMILL_ASSIGN(spec.xielu, form.path("xielu"));
  if (!spec.xielu.empty() && has_gate) {
    return form.error("xielu is for an mlp without a gate");
  }
  if (spec.gate_up.empty() == spec.up.empty()) return form.error("an mlp needs up or gate_up");
  return spec;
}

Result<LinearSpec> parse_linear(Form& form) {
  LinearSpec spec;
  MLXMILL_ASSIGN(spec.path, form.needed_path("at"));
  return spec;
}

namespace {

Result<RouterSpec> parse_router(Form& form) {
  RouterSpec spec;
  MLXMILL_ASSIGN(spec.linear, form.needed_path("linear"));
  MLXMILL_ASSIGN(spec.correction, form.path("correction"));
  MLXMILL_ASSIGN(const std::size_t scores,
                 form.word("scores", {"softmax", "sigmoid", "softmax_of_chosen", "sqrt_softplus",
                                      "sparsemixer"}));
  spec.scores = static_cast<RouterSpec::Scores>(scores);
  MLXMILL_ASSIGN(spec.experts, form.count("experts"));
  MLXMILL_ASSIGN(spec.top, form.count("top"));
  MLXMILL_ASSIGN(spec.normalize, form.condition("normalize", false));
  MLXMILL_ASSIGN(spec.epsilon, form.number("epsilon", 0));
  MLXMILL_ASSIGN(spec.scale, form.number("scale", 1));
  MLXMILL_ASSIGN(spec.softcap, form.number("softcap", 0));
  MLXMILL_ASSIGN(spec.jitter, form.number("jitter", 0));
  MLXMILL_ASSIGN(spec.groups, form.integer("groups", 1));
  MLXMILL_ASSIGN(spec.top_groups, form.integer("top_groups", 1));
  MLXMILL_ASSIGN(spec.group_members, form.integer("group_members", 2));
  MLXMILL_ASSIGN(spec.float32, form.condition("float32", false));
  MLXMILL_ASSIGN(spec.norm, form.norm("norm"));
  MLXMILL_ASSIGN(spec.input_scale, form.path("input_scale"));
  MLXMILL_ASSIGN(spec.input_factor, form.number("input_factor", 1));
  MLXMILL_ASSIGN(spec.expert_scale, form.path("expert_scale"));
  MLXMILL_TRY(form.finish());
  const bool grouped = spec.groups >= 1 && spec.experts % spec.groups == 0 &&
                       spec.top_groups >= 1 && spec.top_groups <= spec.groups &&
                       spec.group_members >= 1 && spec.group_members <= spec.experts / spec.groups;
  if (spec.top > spec.experts || (spec.groups != 1 && !grouped)) {
    return form.error("experts, top, groups and top_groups do not fit each other");
  }
  return spec;
}

}  // namespace

Result<MoeSpec> parse_moe(Form& form) {
  MoeSpec spec;
  MLXMILL_ASSIGN(const auto router, form.form("router"));
  MLXMILL_ASSIGN(const auto experts, form.form("experts"));
  if (!router || !experts) return form.error("a moe needs a router and experts");
  Form router_form = *router;
  MLXMILL_ASSIGN(spec.router, parse_router(router_form));
  Form experts_form = *experts;
  MLXMILL_ASSIGN(spec.experts, parse_mlp(experts_form));
  MLXMILL_ASSIGN(spec.experts_in, experts_form.path("in"));
  MLXMILL_ASSIGN(spec.experts_out, experts_form.path("out"));
  MLXMILL_ASSIGN(spec.experts_pre, experts_form.norm("pre"));
  MLXMILL_ASSIGN(spec.experts_post, experts_form.norm("post"));
  MLXMILL_TRY(experts_form.finish());
  MLXMILL_ASSIGN(spec.scale_input, form.condition("scale_input", false));
  MLXMILL_ASSIGN(const auto shared, form.form("shared"));
  if (shared) {
    Form shared_form = *shared;
    MLXMILL_ASSIGN(MlpSpec mlp, parse_mlp(shared_form));
    spec.shared = std::move(mlp);
    MLXMILL_ASSIGN(spec.shared_gate, shared_form.path("scaled_by"));
    MLXMILL_ASSIGN(spec.shared_pre, shared_form.norm("pre"));
    MLXMILL_ASSIGN(spec.shared_post, shared_form.norm("post"));
    MLXMILL_TRY(shared_form.finish());
  }
  return spec;
}

}  // namespace mlxmill::architectures
