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

/// Whether a dotted name is this path.
bool is_path(std::string_view name, const std::vector<std::string>& path) {
  for (std::size_t i = 0; i < path.size(); ++i) {
    if (!name.starts_with(path[i])) return false;
    name.remove_prefix(path[i].size());
    if (i + 1 == path.size()) break;
    if (!name.starts_with('.')) return false;
    name.remove_prefix(1);
  }
  return name.empty();
}

bool is_whole_config(const std::vector<std::string>& path) {
  return path.size() > 1 && path[0] == "config";
}

}  // namespace

Scope::Scope(const detail::Program& program, const base::Value& config, const TensorTable& tensors,
             bool to_run)
    : program_(program), config_(config), tensors_(tensors), steps_left_(kMaxSteps) {
  locals_.emplace_back("to_run", base::Value(to_run));
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
  if (is_whole_config(path)) return member(config_, path);
  if (const base::Value* key = config_key(path[0])) {
    MLXMILL_ASSIGN(const Operand found, member(*key, path));
    if (!found.absent()) return found;
  }
  for (const detail::Named& fallback : program_.defaults) {
    if (is_path(fallback.name, path)) return nested(fallback.value, "");
  }
  return Operand();
}

Result<bool> Scope::any_tensor(std::string_view pattern) const {
  MLXMILL_ASSIGN(const Pattern parsed, Pattern::parse(pattern));
  for (const TensorView& view : tensors_.views()) {
    if (parsed.match(view.name)) return true;
  }
  return false;
}

const base::Shape* Scope::tensor_shape(std::string_view name) const {
  const TensorView* view = tensors_.find(name);
  return view ? &view->shape : nullptr;
}

bool Scope::has_key(const std::vector<std::string>& path) const {
  const bool whole = is_whole_config(path);
  const base::Value* at = whole ? &config_ : config_key(path[0]);
  for (std::size_t i = 1; at && i < path.size(); ++i) at = at->find(path[i]);
  return at != nullptr;
}

void Scope::Locals::set(std::string name, base::Value value) {
  scope_.locals_.emplace_back(std::move(name), std::move(value));
}

}  // namespace mlxmill::architectures
