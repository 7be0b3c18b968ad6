// config.json as [fill] completes it, and the output's as [config] has it.
#include "architectures/declaration.h"
#include "architectures/layout.h"
#include "architectures/program.h"
#include "architectures/scope.h"

namespace mlxmill::architectures {
namespace {

base::Value edited(base::Value object, std::span<const std::string> path,
                   const std::optional<base::Value>& value) {
  if (!object.as_object()) return object;
  if (path.size() > 1) {
    if (const base::Value* inner = object.find(path[0])) {
      object.set(path[0], edited(*inner, path.subspan(1), value));
    }
  } else if (value) {
    object.set(path[0], *value);
  } else {
    object.erase(path[0]);
  }
  return object;
}

bool is_there(const base::Value& config, std::span<const std::string> path) {
  const base::Value* at = &config;
  for (const std::string& key : path) {
    at = at->as_object() ? at->find(key) : nullptr;
    if (!at) return false;
  }
  return true;
}

Result<ConfigEdit> edit_of(const detail::ConfigRule& rule, const Scope& scope) {
  ConfigEdit edit{rule.path, std::nullopt};
  if (rule.is_object) edit.value = base::Value(base::Object{});
  if (rule.value) {
    MLXMILL_ASSIGN(edit.value, rule.value->evaluate(scope));
  }
  return edit;
}

}  // namespace

Result<FilledConfig> fill_config(const detail::Program& program, const base::Value& config,
                                 const TensorTable& tensors) {
  FilledConfig result{config, {}};
  for (const detail::ConfigRule& rule : program.fill) {
    const Scope scope(program, result.config, tensors);
    if (rule.when) {
      MLXMILL_ASSIGN(const bool applies, rule.when->condition(scope));
      if (!applies) continue;
    } else if (is_there(result.config, rule.path)) {
      continue;
    }
    MLXMILL_ASSIGN(ConfigEdit edit, edit_of(rule, scope));
    if (rule.value && !rule.when && edit.value->is_null()) continue;
    result.config = edited(std::move(result.config), edit.path, edit.value);
    result.edits.push_back(std::move(edit));
  }
  return result;
}

Result<std::vector<ConfigEdit>> config_edits(const detail::Program& program, const Scope& scope) {
  std::vector<ConfigEdit> result;
  for (const detail::ConfigRule& rule : program.config) {
    if (rule.when) {
      MLXMILL_ASSIGN(const bool applies, rule.when->condition(scope));
      if (!applies) continue;
    }
    MLXMILL_ASSIGN(ConfigEdit edit, edit_of(rule, scope));
    result.push_back(std::move(edit));
  }
  return result;
}

base::Value with_edits(base::Value config, std::span<const ConfigEdit> edits) {
  for (const ConfigEdit& edit : edits) config = edited(std::move(config), edit.path, edit.value);
  return config;
}

}  // namespace mlxmill::architectures
