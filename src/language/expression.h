// Expressions: the sizes and conditions of declarations and recipes.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "base/shape.h"
#include "base/value.h"
#include "mlxmill/result.h"

namespace mlxmill::language {

/// Where an expression's names come from.
class Environment {
 public:
  virtual ~Environment() = default;

  /// A value that is not copied when it already lives elsewhere; absent when nothing has the name.
  class Operand {
   public:
    Operand() = default;
    explicit Operand(const base::Value* value) : reference_(value) {}
    explicit Operand(base::Value value) : owned_(std::move(value)), absent_(false) {}
    bool absent() const { return absent_ && !reference_; }
    const base::Value& value() const { return reference_ ? *reference_ : owned_; }
    /// A part of value(), copied only when it would not outlive this operand.
    Operand part(const base::Value& inner) const {
      return reference_ ? Operand(&inner) : Operand(base::Value(inner));
    }

   private:
    const base::Value* reference_ = nullptr;
    base::Value owned_;
    bool absent_ = true;
  };

  /// The value of a dotted name; an absent operand when there is none.
  virtual Result<Operand> name(const std::vector<std::string>& path) const = 0;
  virtual bool has_tensor(std::string_view name) const = 0;
  /// Whether the pattern over names matches a tensor. Errors: kInvalidInput for a bad pattern.
  virtual Result<bool> any_tensor(std::string_view pattern) const {
    static_cast<void>(pattern);
    return Error(Code::kInvalidInput, "any() has no meaning here");
  }
  /// Null when there is no such tensor.
  virtual const base::Shape* tensor_shape(std::string_view name) const = 0;
  /// Whether config.json itself has the key, null or not.
  virtual bool has_key(const std::vector<std::string>& path) const = 0;
  /// Takes steps from the budget; false when it is used up.
  virtual bool spend(std::int64_t steps) const = 0;
  /// What an error says when a name that was needed is absent.
  virtual std::string missing(std::string_view name) const;
};

/// A parsed expression. Threads: immutable; copies share the tree.
///
/// Values are those of JSON. `and`, `or` and conditions use Python's idea of truth and yield an
/// operand;
/// `//` and `%` round down as Python's; `/` of integers must be exact; `a ?? b` is b when a is
/// absent or null; an element that a list or an object does not have is absent. Errors:
/// kInvalidInput naming the expression, the part of it and the type that was found.
class Expression {
 public:
  struct Tree;

  /// Errors: kInvalidInput for bad syntax, or nesting deeper than 32.
  static Result<Expression> parse(std::string_view text, std::string_view file_name,
                                  std::uint32_t line);

  Result<base::Value> evaluate(const Environment& environment) const;
  /// Truth as Python has it: null, false, 0, "" and empty lists are false.
  Result<bool> condition(const Environment& environment) const;
  /// An integer; everything else is an error.
  Result<std::int64_t> integer(const Environment& environment) const;

  const std::string& text() const;
  std::uint32_t line() const;
  /// First components of the names it uses.
  std::vector<std::string> names() const;

 private:
  std::shared_ptr<const Tree> tree_;
};

}  // namespace mlxmill::language
