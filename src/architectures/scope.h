// What the names in a declaration's expressions stand for while it is applied to one checkpoint.
#pragma once

#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "architectures/language.h"
#include "architectures/tensor_table.h"

namespace mlxmill::architectures {

namespace detail {
struct Program;
}

/// Names in the order they are looked up: loop variables and captures, the file's [let],
/// config.json (its `scope` object first), the file's [defaults]. `config.name` is config.json's
/// own, whatever the others say.
class Scope final : public Environment {
 public:
  /// All three must outlive the scope. `to_run` is what the name `to_run` stands for: whether the
  /// model is to be run, not converted.
  Scope(const detail::Program& program, const base::Value& config, const TensorTable& tensors,
        bool to_run = false);

  Result<Operand> name(const std::vector<std::string>& path) const override;
  bool has_tensor(std::string_view name) const override { return tensors_.has(name); }
  Result<bool> any_tensor(std::string_view pattern) const override;
  const base::Shape* tensor_shape(std::string_view name) const override;
  bool has_key(const std::vector<std::string>& path) const override;
  bool spend(std::int64_t steps) const override;

  const base::Value& config() const { return config_; }

  /// The config key itself, without [let] and [defaults]; null pointer when it is not there.
  const base::Value* config_key(std::string_view key) const;

  /// Variables that live as long as this object.
  class Locals {
   public:
    explicit Locals(Scope& scope) : scope_(scope), mark_(scope.locals_.size()) {}
    ~Locals() { scope_.locals_.resize(mark_); }
    Locals(const Locals&) = delete;
    Locals& operator=(const Locals&) = delete;
    void set(std::string name, base::Value value);

   private:
    Scope& scope_;
    std::size_t mark_;
  };

 private:
  Result<Operand> member(const base::Value& value, const std::vector<std::string>& path) const;
  Result<Operand> nested(const Expression& expression, std::string_view let) const;

  const detail::Program& program_;
  const base::Value& config_;
  const TensorTable& tensors_;
  const base::Value* inner_config_ = nullptr;
  std::vector<std::pair<std::string, base::Value>> locals_;
  mutable std::vector<std::string_view> evaluating_;
  mutable std::int64_t steps_left_;
};

}  // namespace mlxmill::architectures
