// per_layer_inputs, per_layer_gate, laurel and altup = { ... } of a step.
#include <string_view>
#include <variant>

#include "architectures/forward/parse.h"
#include "architectures/scope.h"

namespace mlxmill::architectures {
namespace {

// More than any model has.
constexpr std::int64_t kMaxStreams = 64;

/// Of the start and the end: one projection for each stream but the first.
Status parse_projections(Form& form, AltUpSpec& spec) {
  for (std::int64_t k = 0; k + 1 < spec.streams; ++k) {
    Scope::Locals locals(form.context().scope);
    locals.set("k", base::Value(k));
    MLXMILL_ASSIGN(std::string path, form.needed_path("projections"));
    spec.projections.push_back(std::move(path));
  }
  return {};
}

Status parse_router(Form& form, AltUpSpec& spec) {
  MLXMILL_ASSIGN(spec.router, form.needed_path("router"));
  MLXMILL_ASSIGN(spec.router_norm, form.norm("router_norm"));
  MLXMILL_ASSIGN(spec.coefficients, form.needed_path("coefficients"));
  return {};
}

}  // namespace

Result<PerLayerInputsSpec> parse_per_layer_inputs(Form& form) {
  PerLayerInputsSpec spec;
  MLXMILL_ASSIGN(spec.embedding, form.needed_path("embedding"));
  MLXMILL_ASSIGN(spec.projection, form.needed_path("projection"));
  MLXMILL_ASSIGN(spec.norm, form.norm("norm"));
  MLXMILL_ASSIGN(spec.vocabulary, form.count("vocabulary"));
  MLXMILL_ASSIGN(spec.layers, form.count("layers"));
  MLXMILL_ASSIGN(spec.size, form.count("size"));
  MLXMILL_ASSIGN(spec.embedding_scale, form.number("embedding_scale", 1));
  MLXMILL_ASSIGN(spec.projection_scale, form.number("projection_scale", 1));
  MLXMILL_ASSIGN(spec.scale, form.number("scale", 1));
  return spec;
}

Result<PerLayerGateSpec> parse_per_layer_gate(Form& form) {
  PerLayerGateSpec spec;
  MLXMILL_ASSIGN(spec.gate, form.needed_path("gate"));
  MLXMILL_ASSIGN(spec.projection, form.needed_path("projection"));
  MLXMILL_ASSIGN(spec.activation, form.activation("activation", Activation::kGeluTanh));
  return spec;
}

Result<LaurelSpec> parse_laurel(Form& form) {
  LaurelSpec spec;
  MLXMILL_ASSIGN(spec.left, form.needed_path("left"));
  MLXMILL_ASSIGN(spec.right, form.needed_path("right"));
  MLXMILL_ASSIGN(spec.norm, form.norm("norm"));
  return spec;
}

Result<AltUpSpec> parse_altup(Form& form) {
  AltUpSpec spec;
  MLXMILL_ASSIGN(const std::size_t does, form.word("does", {"start", "predict", "correct", "end"}));
  spec.does = static_cast<AltUpSpec::Does>(does);
  MLXMILL_ASSIGN(spec.streams, form.count("streams"));
  MLXMILL_ASSIGN(spec.active, form.integer("active", 0));
  if (spec.streams > kMaxStreams || spec.active < 0 || spec.active >= spec.streams) {
    return form.error("active is one of the streams, of which there are 64 at most");
  }
  if (spec.does == AltUpSpec::Does::kStart || spec.does == AltUpSpec::Does::kEnd) {
    MLXMILL_TRY(parse_projections(form, spec));
    return spec;
  }
  MLXMILL_TRY(parse_router(form, spec));
  if (spec.does == AltUpSpec::Does::kPredict) return spec;
  MLXMILL_ASSIGN(spec.output_scale, form.path("output_scale"));
  MLXMILL_ASSIGN(const auto gate, form.form("per_layer_gate"));
  if (gate) {
    Form table = *gate;
    MLXMILL_ASSIGN(PerLayerGateSpec parsed, parse_per_layer_gate(table));
    spec.per_layer_gate = std::move(parsed);
    MLXMILL_TRY(table.finish());
  }
  MLXMILL_ASSIGN(spec.post, form.norm("post"));
  return spec;
}

namespace {

/// What the steps before have put beside x.
struct Beside {
  std::int64_t layer = 0;
  std::int64_t layer_inputs = 0;  ///< So many; 0: none yet.
  std::int64_t streams = 0;
  bool keys = false;    ///< Attention with keys of its own.
  bool values = false;  ///< A time mix whose values are the first.

  /// What is missing for this block; empty when it can run.
  std::string_view operator()(const PerLayerInputsSpec& spec) {
    layer_inputs = spec.layers;
    return {};
  }
  std::string_view operator()(const PerLayerGateSpec& /*spec*/) const {
    return layer < layer_inputs ? "" : "a per_layer_gate without per_layer_inputs before it";
  }
  std::string_view operator()(const AltUpSpec& spec) {
    if (spec.does == AltUpSpec::Does::kStart) streams = spec.streams;
    if (spec.streams != streams) return "altup without a start with as many streams before it";
    return spec.per_layer_gate ? (*this)(*spec.per_layer_gate) : "";
  }
  std::string_view operator()(const AttentionSpec& spec) {
    keys = keys || !spec.borrows;
    return keys ? "" : "attention that borrows without one before it that projects keys";
  }
  std::string_view operator()(const TimeMixSpec& spec) {
    values = values || spec.v_in.empty();
    return values ? "" : "a time_mix with v_in without one before it that has none";
  }
  template <typename Spec>
  std::string_view operator()(const Spec& /*spec*/) const {
    return {};
  }
};

}  // namespace

std::string_view missing_beside(const std::vector<LayerSpec>& layers) {
  Beside beside;
  for (const LayerSpec& layer : layers) {
    for (const StepSpec& step : layer) {
      const std::string_view problem = std::visit(beside, step.block);
      if (!problem.empty()) return problem;
    }
    ++beside.layer;
  }
  return {};
}

}  // namespace mlxmill::architectures
