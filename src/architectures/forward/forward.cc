// [forward] of a declaration, evaluated for one config.
#include "architectures/forward/forward.h"

#include <fmt/format.h>

#include "architectures/forward/parse.h"
#include "architectures/program.h"
#include "architectures/scope.h"

namespace mlxmill::architectures {
namespace {

// Beyond any model; keeps an absurd config from asking for more.
constexpr std::int64_t kMaxLayers = 10'000;

template <auto parse>
Result<BlockSpec> block(Form& form) {
  auto spec = parse(form);
  if (!spec) return std::move(spec).error();
  return BlockSpec(*std::move(spec));
}

constexpr BlockKind kBlocks[] = {
    {"attention", block<parse_attention>},
    {"latent_attention", block<parse_latent_attention>},
    {"linear", block<parse_linear>},
    {"delta_net", block<parse_delta_net>},
    {"mamba2", block<parse_mamba2>},
    {"mamba", block<parse_mamba>},
    {"short_conv", block<parse_short_conv>},
    {"time_mix", block<parse_time_mix>},
    {"channel_mix", block<parse_channel_mix>},
    {"per_layer_inputs", block<parse_per_layer_inputs>},
    {"per_layer_gate", block<parse_per_layer_gate>},
    {"laurel", block<parse_laurel>},
    {"altup", block<parse_altup>},
    {"mlp", block<parse_mlp>},
    {"moe", block<parse_moe>},
};

/// The step's one block, or nothing when its condition does not hold.
Result<std::optional<BlockSpec>> parse_block(Form& form) {
  const BlockKind* kind = nullptr;
  for (const BlockKind& candidate : kBlocks) {
    if (!form.has(candidate.key)) continue;
    if (kind) return form.error(fmt::format("a step has {} and {}", kind->key, candidate.key));
    kind = &candidate;
  }
  if (!kind) return form.error("a step without a block: expected attention, mlp, moe, ...");
  MLXMILL_ASSIGN(std::optional<Form> table, form.form(kind->key));
  if (!table) return std::optional<BlockSpec>();
  MLXMILL_ASSIGN(BlockSpec spec, kind->parse(*table));
  MLXMILL_TRY(table->finish());
  return std::optional<BlockSpec>(std::move(spec));
}

/// Adds the step to a layer, when it is one of its.
Status parse_step(const Node& node, const FormContext& context, LayerSpec& layer) {
  Form form(node, context);
  MLXMILL_ASSIGN(const bool applies, form.applies());
  if (!applies) return {};
  StepSpec step;
  MLXMILL_ASSIGN(std::optional<BlockSpec> block, parse_block(form));
  MLXMILL_ASSIGN(step.pre, form.norm("pre"));
  MLXMILL_ASSIGN(step.post, form.norm("post"));
  MLXMILL_ASSIGN(step.scale, form.number("scale", 1));
  MLXMILL_ASSIGN(step.keep, form.number("keep", 1));
  MLXMILL_ASSIGN(step.keeps_normed, form.condition("keeps_normed", false));
  MLXMILL_ASSIGN(step.parallel, form.condition("parallel", false));
  MLXMILL_ASSIGN(step.scaled_by, form.path("scaled_by"));
  MLXMILL_TRY(form.finish());
  if (step.parallel && layer.empty()) return form.error("the first step is parallel to nothing");
  if (!block) return {};
  step.block = *std::move(block);
  layer.push_back(std::move(step));
  return {};
}

Status parse_ends(Form& form, Forward& forward) {
  MLXMILL_ASSIGN(const auto embedding, form.form("embedding"));
  if (!embedding) return form.error("[forward] needs an embedding");
  Form table = *embedding;
  MLXMILL_ASSIGN(forward.embedding.path, table.needed_path("at"));
  MLXMILL_ASSIGN(forward.embedding.scale, table.number("scale", 1));
  MLXMILL_ASSIGN(forward.embedding.positions, table.path("positions"));
  MLXMILL_ASSIGN(forward.embedding.position_offset, table.integer("position_offset", 0));
  MLXMILL_ASSIGN(forward.embedding.norm, table.norm("norm"));
  MLXMILL_TRY(table.finish());
  MLXMILL_ASSIGN(forward.norm, form.norm("final"));
  MLXMILL_ASSIGN(const auto head, form.form("head"));
  if (!head) return form.error("[forward] needs a head");
  Form head_form = *head;
  MLXMILL_ASSIGN(forward.head.path, head_form.needed_path("at"));
  // Without weights of its own it is the embedding's.
  if (!form.context().scope.has_tensor(forward.head.path + ".weight")) {
    forward.head.path = forward.embedding.path;
  }
  MLXMILL_ASSIGN(forward.head.scale, head_form.number("scale", 1));
  MLXMILL_ASSIGN(forward.head.softcap, head_form.number("softcap", 0));
  MLXMILL_TRY(head_form.finish());
  MLXMILL_ASSIGN(forward.vocabulary, form.count("vocabulary"));
  MLXMILL_ASSIGN(forward.max_positions, form.integer("max_positions", 0));
  return {};
}

/// What the forward pass asks of the config beyond what converting does.
Status parse_checks(Form& form) {
  const Node* node = form.raw("checks");
  const Node::Items* items = node ? node->as_array() : nullptr;
  if (!items) return node ? Status(form.error("checks must be a list")) : Status();
  for (const Node& item : *items) {
    if (!item.as_table()) return form.error("a check needs \"that\" and \"why\"");
    Form check(item, form.context());
    MLXMILL_ASSIGN(const bool holds, check.condition("that", false));
    MLXMILL_ASSIGN(const std::string why, check.text("why"));
    MLXMILL_TRY(check.finish());
    if (!holds) return Error(Code::kUnsupported, why).at("config.json");
  }
  return {};
}

/// One entry of `stacks`, for one layer.
Status parse_stack(const Node& node, const FormContext& context, std::vector<StackSpec>& stacks) {
  if (!node.as_table()) return Form(node, context).error("a stack needs to, of and count");
  Form form(node, context);
  MLXMILL_ASSIGN(const bool applies, form.applies());
  if (!applies) return {};
  StackSpec stack;
  MLXMILL_ASSIGN(stack.path, form.needed_path("to"));
  MLXMILL_ASSIGN(const std::int64_t count, form.count("count"));
  for (std::int64_t k = 0; k < count; ++k) {
    Scope::Locals locals(context.scope);
    locals.set("k", base::Value(k));
    MLXMILL_ASSIGN(std::string member, form.needed_path("of"));
    if (k == 1 && member == stack.of[0]) return form.error("of needs {k}, which counts modules");
    // So an absurd config makes no more of it than the model has tensors for.
    if (!context.scope.has_tensor(member + ".weight")) {
      return form.error(
          fmt::format("the model has no {}, which {} is stacked of", member, stack.path));
    }
    stack.of.push_back(std::move(member));
  }
  MLXMILL_TRY(form.finish());
  stacks.push_back(std::move(stack));
  return {};
}

/// The `norm` table: what norms are unless they say otherwise.
Result<NormSpec> parse_default_norm(Form& form) {
  NormSpec norm;
  norm.kind = NormSpec::Kind::kRms;
  MLXMILL_ASSIGN(const auto table, form.form("norm"));
  if (!table) return norm;
  Form fields = *table;
  MLXMILL_ASSIGN(const std::size_t kind, fields.word("kind", {"rms", "layer"}));
  if (kind == 1) norm.kind = NormSpec::Kind::kLayer;
  MLXMILL_ASSIGN(norm.epsilon, fields.number("epsilon", norm.epsilon));
  MLXMILL_ASSIGN(norm.offset, fields.number("offset", 0));
  MLXMILL_TRY(fields.finish());
  return norm;
}

}  // namespace

Result<Forward> evaluate_forward(const Node& node, Scope& scope, std::string_view file_name,
                                 std::int64_t n_layers) {
  FormContext context{scope, file_name, "", {}};
  Form form(node, context);
  MLXMILL_ASSIGN(context.norm, parse_default_norm(form));
  Forward forward;
  MLXMILL_TRY(parse_checks(form));
  MLXMILL_TRY(parse_ends(form, forward));
  const Node* steps = form.raw("steps");
  const Node* at = form.raw("at");
  if (!steps || !steps->as_array() || !at || !at->as_string()) {
    return form.error("[forward] needs at = \"model.layers.{i}\" and [[forward.steps]]");
  }
  const Node* stacks = form.raw("stacks");
  if (stacks && !stacks->as_array()) return form.error("stacks must be a list");
  MLXMILL_ASSIGN(n_layers, form.integer("layers", n_layers));
  MLXMILL_TRY(form.finish());
  if (n_layers < 1 || n_layers > kMaxLayers) {
    return form.error(fmt::format("a model of {} layers; expected 1 to {}", n_layers, kMaxLayers));
  }
  for (std::int64_t i = 0; i < n_layers; ++i) {
    Scope::Locals locals(scope);
    locals.set("i", base::Value(i));
    context.at.clear();
    MLXMILL_ASSIGN(const std::string prefix, Form(node, context).needed_path("at"));
    context.at = prefix + ".";
    if (stacks) {
      for (const Node& stack : *stacks->as_array()) {
        MLXMILL_TRY(parse_stack(stack, context, forward.stacks));
      }
    }
    LayerSpec layer;
    for (const Node& step : *steps->as_array()) MLXMILL_TRY(parse_step(step, context, layer));
    forward.layers.push_back(std::move(layer));
  }
  if (const std::string_view problem = missing_beside(forward.layers); !problem.empty()) {
    return Form(node, context).error(std::string(problem));
  }
  return forward;
}

}  // namespace mlxmill::architectures
