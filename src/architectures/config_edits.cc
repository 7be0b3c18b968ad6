// The output's config.json as [config] has it.
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

}  // namespace

Result<std::vector<ConfigEdit>> config_edits(const detail::Program& program, const Scope& scope) {
  std::vector<ConfigEdit> result;
  for (const detail::ConfigRule& rule : program.config) {
    if (rule.when) {
      MLXMILL_ASSIGN(const bool applies, rule.when->condition(scope));
      if (!applies) continue;
    }
    ConfigEdit edit{rule.path, std::nullopt};
    if (rule.value) {
      MLXMILL_ASSIGN(edit.value, rule.value->evaluate(scope));
    }
    result.push_back(std::move(edit));
  }
  return result;
}

base::Value with_edits(base::Value config, std::span<const ConfigEdit> edits) {
  for (const ConfigEdit& edit : edits) config = edited(std::move(config), edit.path, edit.value);
  return config;
}

}  // namespace mlxmill::architectures
