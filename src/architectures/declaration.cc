#include "architectures/declaration.h"

#include <fmt/format.h>

#include <iterator>

#include "architectures/forward/parse.h"
#include "architectures/language.h"
#include "architectures/layout.h"
#include "architectures/program.h"
#include "architectures/scope.h"
#include "tensors/view.h"

namespace mlxmill::architectures {
namespace {

Status check_config(const detail::Program& program, const Scope& scope) {
  for (const std::string& key : program.required) {
    if (scope.config_key(key)) continue;
    return Error(Code::kInvalidInput,
                 fmt::format("there is no {}, which mlx-lm needs for family {}", quoted(key),
                             quoted(program.family)))
        .at("config.json");
  }
  for (const detail::Check& check : program.checks) {
    MLXMILL_ASSIGN(const bool holds, check.that.condition(scope));
    if (holds) continue;
    return Error(Code::kUnsupported, fmt::format("{}; expected {}", check.why, check.that.text()))
        .at(fmt::format("{}:{}", program.file_name, check.that.line()));
  }
  return {};
}

Result<int> count_layers(const detail::Program& program, const Scope& scope) {
  if (!program.layers) return 0;
  MLXMILL_ASSIGN(const std::int64_t n, program.layers->integer(scope));
  if (n >= 0 && n <= 1'000'000) return static_cast<int>(n);
  return error_at(program.file_name, program.layers->line(),
                  fmt::format("{} is {}; expected a number of layers", program.layers->text(), n))
      .hint("is config.json the model's?");
}

/// Keys of transformers 5 that the loader does not read, where it would take a default instead.
std::vector<std::string> ignored_keys(const detail::Program& program, const Scope& scope) {
  std::vector<std::string> result;
  for (const auto& [key, instead] : program.ignored) {
    const base::Value* value = scope.config_key(key);
    if (!value || value->is_null() || scope.config_key(instead)) continue;
    result.push_back(fmt::format(
        "config.json has {0} but no {1}; mlx-lm reads {1} only and runs family {2} with its default"
        " instead. Add {1} to config.json if the model's is another",
        quoted(key), quoted(instead), program.family));
  }
  return result;
}

/// Those of [fill], then those of [config]. Takes the edits out of `filled`.
Result<std::vector<ConfigEdit>> all_edits(const detail::Program& program, FilledConfig& filled,
                                          const Scope& scope) {
  std::vector<ConfigEdit> result = std::move(filled.edits);
  MLXMILL_ASSIGN(std::vector<ConfigEdit> own, config_edits(program, scope));
  std::move(own.begin(), own.end(), std::back_inserter(result));
  return result;
}

}  // namespace

Result<Declaration> Declaration::parse(std::string_view text, std::string_view file_name) {
  MLXMILL_ASSIGN(detail::Program program, detail::parse_program(text, file_name));
  Declaration result;
  result.program_ = std::make_shared<const detail::Program>(std::move(program));
  return result;
}

const std::string& Declaration::family() const { return program_->family; }
const std::string& Declaration::file_name() const { return program_->file_name; }
bool Declaration::is_strict() const { return !program_->blocks.empty(); }

const std::vector<std::string>& Declaration::model_types() const { return program_->model_types; }

const std::vector<std::string>& Declaration::architecture_names() const {
  return program_->architecture_names;
}

const std::vector<std::string>& Declaration::features() const { return program_->features; }

std::optional<std::int64_t> Declaration::stand_in_order(const base::Value& config) const {
  if (!program_->stands_in || !config.as_object() || !is_strict()) return std::nullopt;
  if (!program_->stands_in->when) return program_->stands_in->order;
  const TensorTable none;
  const Scope scope(*program_, config, none);
  const auto applies = program_->stands_in->when->condition(scope);
  // A condition that this config cannot answer is one it does not meet.
  return applies && *applies ? std::optional(program_->stands_in->order) : std::nullopt;
}

Result<Layout> Declaration::apply(const base::Value& config,
                                  std::span<const SourceTensor> tensors) const {
  std::vector<TensorView> views;
  views.reserve(tensors.size());
  for (std::size_t i = 0; i < tensors.size(); ++i) {
    MLXMILL_ASSIGN(TensorView view, tensors::view_of(tensors[i], i));
    views.push_back(std::move(view));
  }
  return apply(config, std::move(views));
}

Result<Layout> Declaration::apply(const base::Value& config, std::span<const TensorView> tensors,
                                  bool exact_norms, bool to_run) const {
  return apply(config, std::vector<TensorView>(tensors.begin(), tensors.end()), exact_norms,
               to_run);
}

Result<Layout> Declaration::apply(const base::Value& config, std::vector<TensorView>&& tensors,
                                  bool exact_norms, bool to_run) const {
  if (!config.as_object()) {
    return Error(Code::kInvalidInput, fmt::format("expected an object, got {}", config.type_name()))
        .at("config.json");
  }
  MLXMILL_ASSIGN(TensorTable table, TensorTable::of(std::move(tensors)));
  MLXMILL_ASSIGN(FilledConfig filled, fill_config(*program_, config, table));
  Scope scope(*program_, filled.config, table, to_run);
  MLXMILL_TRY(check_config(*program_, scope));
  Layout layout;
  MLXMILL_ASSIGN(layout.n_layers, count_layers(*program_, scope));
  MLXMILL_ASSIGN(layout.config_edits, all_edits(*program_, filled, scope));
  layout.as_is = program_->as_is;
  layout.warnings = ignored_keys(*program_, scope);
  Work work{table, scope, layout.dropped, exact_norms};
  for (const std::unique_ptr<Rule>& rule : program_->rules) MLXMILL_TRY(rule->apply(work));
  if (is_strict()) {
    MLXMILL_TRY(add_strict_modules(*program_, scope, table, layout));
  } else {
    MLXMILL_ASSIGN(layout.modules, open_modules(*program_, scope, table));
  }
  return layout;
}

Result<std::vector<ConfigEdit>> Declaration::edits(const base::Value& config,
                                                   std::span<const TensorView> tensors) const {
  MLXMILL_ASSIGN(TensorTable table, TensorTable::of({tensors.begin(), tensors.end()}));
  MLXMILL_ASSIGN(FilledConfig filled, fill_config(*program_, config, table));
  const Scope scope(*program_, filled.config, table);
  MLXMILL_TRY(check_config(*program_, scope));
  return all_edits(*program_, filled, scope);
}

Result<std::vector<TensorView>> Declaration::rewrite(const base::Value& config,
                                                     std::span<const TensorView> tensors) const {
  MLXMILL_ASSIGN(TensorTable table, TensorTable::of({tensors.begin(), tensors.end()}));
  MLXMILL_ASSIGN(const FilledConfig filled, fill_config(*program_, config, table));
  Scope scope(*program_, filled.config, table);
  std::vector<Dropped> dropped;
  Work work{table, scope, dropped};
  for (const std::unique_ptr<Rule>& rule : program_->rules) MLXMILL_TRY(rule->apply(work));
  return table.views();
}

bool Declaration::runs() const { return program_->forward.has_value(); }

Result<Forward> Declaration::forward(const base::Value& config, const Layout& layout) const {
  if (!runs()) {
    return Error(Code::kUnsupported,
                 fmt::format("family {} can be converted, but not run", quoted(family())))
        .hint("`mlxmill architectures` shows which families run");
  }
  std::vector<TensorView> views;
  for (const Module& module : layout.modules) {
    views.insert(views.end(), module.tensors.begin(), module.tensors.end());
  }
  MLXMILL_ASSIGN(const TensorTable table, TensorTable::of(std::move(views)));
  MLXMILL_ASSIGN(const FilledConfig filled, fill_config(*program_, config, table));
  Scope scope(*program_, filled.config, table, /*to_run=*/true);
  return evaluate_forward(*program_->forward, scope, file_name(), layout.n_layers);
}

}  // namespace mlxmill::architectures
