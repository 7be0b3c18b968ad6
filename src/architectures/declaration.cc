#include "architectures/declaration.h"

#include <fmt/format.h>

#include "architectures/language.h"
#include "architectures/layout.h"
#include "architectures/program.h"
#include "architectures/scope.h"

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

Result<Layout> Declaration::apply(const base::Value& config,
                                  std::span<const SourceTensor> tensors) const {
  if (!config.as_object()) {
    return Error(Code::kInvalidInput, fmt::format("expected an object, got {}", config.type_name()))
        .at("config.json");
  }
  MLXMILL_ASSIGN(TensorTable table, TensorTable::of(tensors));
  Scope scope(*program_, config, table);
  MLXMILL_TRY(check_config(*program_, scope));
  Layout layout;
  MLXMILL_ASSIGN(layout.n_layers, count_layers(*program_, scope));
  Work work{table, scope, layout.dropped};
  for (const std::unique_ptr<Rule>& rule : program_->rules) MLXMILL_TRY(rule->apply(work));
  if (is_strict()) {
    MLXMILL_ASSIGN(layout.modules, strict_modules(*program_, scope, table));
  } else {
    MLXMILL_ASSIGN(layout.modules, open_modules(*program_, scope, table));
  }
  return layout;
}

}  // namespace mlxmill::architectures
