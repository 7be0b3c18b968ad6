#include "architectures/scope.h"

#include <fmt/format.h>

#include <algorithm>

#include "architectures/language.h"
#include "architectures/program.h"

namespace mlxmill::architectures {
namespace {

// The largest mixtures of experts take about a million, most of it for conditions of rules.
constexpr std::int64_t kMaxSteps = 10'000'000;
constexpr std::size_t kMaxNesting = 12;

}  // namespace

Scope::Scope(const detail::Program& program, const base::Value& config, const TensorTable& tensors)
    : program_(program), config_(config), tensors_(tensors), steps_left_(kMaxSteps) {
  if (!program.scope.empty()) inner_config_ = config.find(program.scope);
}

bool Scope::spend(std::int64_t steps) const {
  steps_left_ -= std::min(steps, steps_left_);
  return steps_left_ > 0;
}

const base::Value* Scope::config_key(std::string_view key) const {
  const base::Value* found = inner_config_ ? inner_config_->find(key) : nullptr;
  return found ? found : config_.find(key);
}

Result<Environment::Operand> Scope::nested(const Expression& expression,
                                           std::string_view let) const {
  if (evaluating_.size() >= kMaxNesting) {
    return error_at(
        program_.file_name, expression.line(),
        fmt::format("{} depends on more than {} others in a chain", quoted(let), kMaxNesting));
  }
  evaluating_.push_back(let);
  auto value = expression.evaluate(*this);
  evaluating_.pop_back();
  if (!value) return std::move(value).error();
  return Operand(*std::move(value));
}

Result<Environment::Operand> Scope::member(const base::Value& value,
                                           const std::vector<std::string>& path) const {
  const base::Value* at = &value;
  for (std::size_t i = 1; i < path.size(); ++i) {
    if (at->is_null()) return Operand();
    if (!at->as_object()) {
      return Error(Code::kInvalidInput, fmt::format("{} is {}; expected an object",
                                                    quoted(path[i - 1]), at->type_name()))
          .at("config.json");
    }
    at = at->find(path[i]);
    if (!at) return Operand();
  }
  return Operand(at);
}

Result<Environment::Operand> Scope::name(const std::vector<std::string>& path) const {
  for (auto local = locals_.rbegin(); local != locals_.rend(); ++local) {
    // A copy: another local may move the list while the operand is still looked at.
    if (local->first == path[0] && path.size() == 1) return Operand(base::Value(local->second));
  }
  for (const detail::Named& let : program_.lets) {
    // Within its own definition a name is the config's.
    if (let.name != path[0] || path.size() != 1) continue;
    if (std::find(evaluating_.begin(), evaluating_.end(), let.name) != evaluating_.end()) break;
    return nested(let.value, let.name);
  }
  if (const base::Value* key = config_key(path[0])) return member(*key, path);
  for (const detail::Named& fallback : program_.defaults) {
    if (fallback.name == path[0] && path.size() == 1) return nested(fallback.value, "");
  }
  return Operand();
}

void Scope::Locals::set(std::string name, base::Value value) {
  scope_.locals_.emplace_back(std::move(name), std::move(value));
}

}  // namespace mlxmill::architectures
