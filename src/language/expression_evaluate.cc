// Expressions: tree to value.
#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <utility>

#include "language/document.h"
#include "language/expression.h"
#include "language/expression_functions.h"
#include "language/expression_tree.h"

namespace mlxmill::language {
namespace {

using base::Value;
using Operand = Environment::Operand;
using Tree = Expression::Tree;

/// Numbers compare across int and float, as Python's do; everything else by type and value.
bool equal(const Value& a, const Value& b) {
  if (a.as_int() && b.as_float()) return static_cast<double>(*a.as_int()) == *b.as_float();
  if (a.as_float() && b.as_int()) return *a.as_float() == static_cast<double>(*b.as_int());
  return a == b;
}

std::optional<double> as_number(const Value& value) {
  if (const auto* integer = value.as_int()) return static_cast<double>(*integer);
  if (const double* number = value.as_float()) return *number;
  return std::nullopt;
}

class Evaluator {
 public:
  Evaluator(const Tree& tree, const Environment& environment)
      : tree_(tree), environment_(environment) {}

  /// The value of a node; never absent.
  Result<Operand> value(std::size_t node) {
    MLXMILL_ASSIGN(Operand result, operand(node));
    if (!result.absent()) return result;
    // Of a ?? b ?? c it is the last that had to be there.
    while (tree_.nodes[node].op == Op::kCoalesce) node = tree_.nodes[node].operands[1];
    if (tree_.nodes[node].op == Op::kIndex) return missing_element(tree_.nodes[node]);
    if (tree_.nodes[node].op == Op::kCall) return error("there is no such tensor");
    std::string name;
    for (const std::string& part : tree_.nodes[node].path) {
      name += (name.empty() ? "" : ".") + part;
    }
    return error(environment_.missing(name));
  }

  Error error(std::string_view what) const {
    return error_at(tree_.file_name, tree_.line,
                    fmt::format("in {}: {}", quoted(tree_.text), what));
  }

  /// "head_dim is a string; expected a number".
  Error wrong_type(std::size_t node, const Value& got, std::string_view expected) const {
    const Tree::Node& at = tree_.nodes[node];
    std::string part = tree_.text.substr(at.begin, at.end - at.begin);
    part.erase(part.find_last_not_of(' ') + 1);
    if (got.as_big_integer()) {
      return error(fmt::format("{} is an integer beyond 64 bits; expected {}", part, expected));
    }
    const std::string_view type = got.as_float() ? "a float" : got.type_name();
    return error(fmt::format("{} is {}; expected {}", part, type, expected));
  }

 private:
  Status spend(std::size_t steps) const {
    if (environment_.spend(static_cast<std::int64_t>(steps))) return {};
    return error("it takes too many steps to work out");
  }

  Result<Operand> operand(std::size_t index) {
    MLXMILL_TRY(spend(1));
    const Tree::Node& node = tree_.nodes[index];
    switch (node.op) {
      case Op::kLiteral:
        return Operand(&node.literal);
      case Op::kName:
        return name(node);
      case Op::kEach:
        return each(node);
      case Op::kList:
        return list(node);
      case Op::kCall:
        return call(node);
      case Op::kIndex:
        return element(node);
      case Op::kAnd:
      case Op::kOr:
        return logic(node);
      case Op::kCoalesce: {
        MLXMILL_ASSIGN(Operand left, operand(node.operands[0]));
        if (!left.absent() && !left.value().is_null()) return left;
        return operand(node.operands[1]);
      }
      case Op::kChoose: {
        MLXMILL_ASSIGN(const Operand condition, value(node.operands[0]));
        return value(node.operands[truth(condition.value()) ? 1 : 2]);
      }
      case Op::kNot: {
        MLXMILL_ASSIGN(const Operand inner, value(node.operands[0]));
        return Operand(Value(!truth(inner.value())));
      }
      case Op::kNegate: {
        MLXMILL_ASSIGN(const Operand inner, value(node.operands[0]));
        return arithmetic(node, Op::kSubtract, Value(0), inner.value());
      }
      default:
        break;
    }
    MLXMILL_ASSIGN(const Operand left, value(node.operands[0]));
    MLXMILL_ASSIGN(const Operand right, value(node.operands[1]));
    return combine(node, left.value(), right.value());
  }

  Result<Operand> name(const Tree::Node& node) {
    for (auto variable = variables_.rbegin(); variable != variables_.rend(); ++variable) {
      if (node.path.size() == 1 && node.path[0] == variable->first) {
        return Operand(Value(variable->second));
      }
    }
    return environment_.name(node.path);
  }

  Result<Operand> each(const Tree::Node& node) {
    constexpr std::int64_t kMaxElements = 65536;
    MLXMILL_ASSIGN(const Operand count, value(node.operands[1]));
    const std::int64_t* n = count.value().as_int();
    if (!n) return wrong_type(node.operands[1], count.value(), "an integer");
    if (*n > kMaxElements) return error(fmt::format("a list of {} elements is too long", *n));
    base::Array items;
    for (std::int64_t i = 0; i < *n; ++i) {
      variables_.emplace_back(node.path[0], i);
      bool wanted = true;
      Result<Operand> element = node.operands.size() > 2 ? value(node.operands[2]) : Operand();
      if (element && node.operands.size() > 2) wanted = truth(element->value());
      if (element && wanted) element = value(node.operands[0]);
      variables_.pop_back();
      if (!element) return std::move(element).error();
      if (wanted) items.push_back(element->value());
    }
    return Operand(Value(std::move(items)));
  }

  Result<Operand> list(const Tree::Node& node) {
    base::Array items;
    for (const std::size_t item : node.operands) {
      MLXMILL_ASSIGN(const Operand element, value(item));
      items.push_back(element.value());
    }
    return Operand(Value(std::move(items)));
  }

  Result<Operand> logic(const Tree::Node& node) {
    MLXMILL_ASSIGN(Operand left, value(node.operands[0]));
    if (truth(left.value()) == (node.op == Op::kOr)) return left;
    return value(node.operands[1]);
  }

  Result<Operand> call(const Tree::Node& node) {
    const std::string& function = node.path[0];
    if (function == "given") {
      return Operand(Value(environment_.has_key(tree_.nodes[node.operands[0]].path)));
    }
    std::vector<Value> arguments;
    for (const std::size_t argument : node.operands) {
      MLXMILL_ASSIGN(const Operand operand, value(argument));
      const base::Array* array = operand.value().as_array();
      if (array) MLXMILL_TRY(spend(array->size() / 16));
      arguments.push_back(operand.value());
    }
    if (function == "has" || function == "any" || function == "shape_of") {
      const std::string* tensor = arguments[0].as_string();
      if (!tensor) return wrong_type(node.operands[0], arguments[0], "a string");
      if (function == "has") return Operand(Value(environment_.has_tensor(*tensor)));
      if (function == "any") {
        const auto found = environment_.any_tensor(*tensor);
        if (!found) return error(found.error().what());
        return Operand(Value(*found));
      }
      return shape_of(*tensor);
    }
    auto result = call_function(function, arguments);
    if (const FunctionError* failed = std::get_if<FunctionError>(&result)) {
      if (failed->argument == FunctionError::kNoArgument) return error(failed->text);
      return wrong_type(node.operands[failed->argument], arguments[failed->argument], failed->text);
    }
    return Operand(std::get<Value>(std::move(result)));
  }

  Result<Operand> shape_of(const std::string& tensor) {
    const base::Shape* shape = environment_.tensor_shape(tensor);
    if (!shape) return Operand();
    base::Array extents;
    for (const std::int64_t extent : *shape) extents.emplace_back(extent);
    return Operand(Value(std::move(extents)));
  }

  Result<Operand> combine(const Tree::Node& node, const Value& a, const Value& b) {
    switch (node.op) {
      case Op::kEqual:
        return Operand(Value(equal(a, b)));
      case Op::kNotEqual:
        return Operand(Value(!equal(a, b)));
      case Op::kIn:
        return contains(node, a, b, true);
      case Op::kNotIn:
        return contains(node, a, b, false);
      case Op::kLess:
      case Op::kLessEqual:
      case Op::kGreater:
      case Op::kGreaterEqual:
        return compare(node, a, b);
      default:
        return arithmetic(node, node.op, a, b);
    }
  }

  Result<Operand> contains(const Tree::Node& node, const Value& a, const Value& b, bool yes) {
    bool found = false;
    if (const auto* array = b.as_array()) {
      MLXMILL_TRY(spend(array->size()));
      found =
          std::any_of(array->begin(), array->end(), [&](const Value& v) { return equal(a, v); });
    } else if (b.as_string() && a.as_string()) {
      found = b.as_string()->find(*a.as_string()) != std::string::npos;
    } else {
      return wrong_type(node.operands[1], b, "an array");
    }
    return Operand(Value(found == yes));
  }

  /// x[i] and x[i].name; absent when x is absent or null, or has no such element.
  Result<Operand> element(const Tree::Node& node) {
    MLXMILL_ASSIGN(const Operand container, operand(node.operands[0]));
    if (container.absent() || container.value().is_null()) return Operand();
    const Value& a = container.value();
    MLXMILL_ASSIGN(const Operand key, value(node.operands[1]));
    const Value& b = key.value();
    if (a.as_object() && b.as_string()) {
      const Value* member = a.find(*b.as_string());
      return member ? container.part(*member) : Operand();
    }
    const auto* array = a.as_array();
    const auto* text = a.as_string();
    if (!array && !text) {
      return wrong_type(node.operands[0], a, b.as_string() ? "an object" : "an array");
    }
    if (!b.as_int()) return wrong_type(node.operands[1], b, "an integer");
    const auto size = static_cast<std::int64_t>(array ? array->size() : text->size());
    const std::int64_t at = *b.as_int() < 0 ? *b.as_int() + size : *b.as_int();
    if (at < 0 || at >= size) return Operand();
    const auto place = static_cast<std::size_t>(at);
    return array ? container.part((*array)[place]) : Operand(Value(text->substr(place, 1)));
  }

  Result<Operand> missing_element(const Tree::Node& node) {
    MLXMILL_ASSIGN(const Operand container, value(node.operands[0]));
    MLXMILL_ASSIGN(const Operand key, value(node.operands[1]));
    const Value& a = container.value();
    if (const std::string* member = key.value().as_string()) {
      if (a.is_null()) return wrong_type(node.operands[0], a, "an object");
      return error(fmt::format("there is no member {}", quoted(*member)));
    }
    if (a.is_null()) return wrong_type(node.operands[0], a, "an array");
    const std::size_t size = a.as_array() ? a.as_array()->size() : a.as_string()->size();
    return error(fmt::format("index {} is outside {} of {}", *key.value().as_int(),
                             a.as_array() ? "an array" : "a string", size));
  }

  Result<Operand> compare(const Tree::Node& node, const Value& a, const Value& b) {
    int order = 0;
    if (a.as_int() && b.as_int()) {
      order = *a.as_int() < *b.as_int() ? -1 : *a.as_int() > *b.as_int();
    } else if (a.as_string() && b.as_string()) {
      order = a.as_string()->compare(*b.as_string());
    } else {
      const auto x = as_number(a);
      const auto y = as_number(b);
      if (!x) return wrong_type(node.operands[0], a, "a number");
      if (!y) return wrong_type(node.operands[1], b, "a number");
      order = *x < *y ? -1 : *x > *y;
    }
    switch (node.op) {
      case Op::kLess:
        return Operand(Value(order < 0));
      case Op::kLessEqual:
        return Operand(Value(order <= 0));
      case Op::kGreater:
        return Operand(Value(order > 0));
      default:
        return Operand(Value(order >= 0));
    }
  }

  Result<Operand> arithmetic(const Tree::Node& node, Op op, const Value& a, const Value& b) {
    if (op == Op::kAdd && a.as_string() && b.as_string()) {
      constexpr std::size_t kMaxJoinedBytes = 4096;
      if (a.as_string()->size() + b.as_string()->size() > kMaxJoinedBytes) {
        return error("the joined text is too long");
      }
      return Operand(Value(*a.as_string() + *b.as_string()));
    }
    const auto x = as_number(a);
    const auto y = as_number(b);
    if (!x) return wrong_type(node.operands.front(), a, "a number");
    if (!y) return wrong_type(node.operands.back(), b, "a number");
    const bool divides = op == Op::kDivide || op == Op::kFloorDivide || op == Op::kModulo;
    if (divides && *y == 0) return error("division by zero");
    if (a.as_int() && b.as_int()) return integers(op, *a.as_int(), *b.as_int());
    double result = 0;
    switch (op) {
      case Op::kAdd:
        result = *x + *y;
        break;
      case Op::kSubtract:
        result = *x - *y;
        break;
      case Op::kMultiply:
        result = *x * *y;
        break;
      case Op::kDivide:
        result = *x / *y;
        break;
      case Op::kFloorDivide:
        result = std::floor(*x / *y);
        break;
      default:
        result = *x - std::floor(*x / *y) * *y;
        break;
    }
    return Operand(Value(result));
  }

  Result<Operand> integers(Op op, std::int64_t x, std::int64_t y) {
    std::int64_t result = 0;
    bool overflow = false;
    switch (op) {
      case Op::kAdd:
        overflow = __builtin_add_overflow(x, y, &result);
        break;
      case Op::kSubtract:
        overflow = __builtin_sub_overflow(x, y, &result);
        break;
      case Op::kMultiply:
        overflow = __builtin_mul_overflow(x, y, &result);
        break;
      default:
        overflow = x == std::numeric_limits<std::int64_t>::min() && y == -1;
        if (overflow) break;
        result = x / y;
        const std::int64_t rest = x % y;
        if (op == Op::kDivide && rest != 0) {
          return error(fmt::format("{} / {} leaves a remainder; use // to round down", x, y));
        }
        const bool down = rest != 0 && (rest < 0) != (y < 0);
        result = op == Op::kModulo ? rest + (down ? y : 0) : result - down;
    }
    if (overflow) return error(fmt::format("{} and {} overflow 64 bits", x, y));
    return Operand(Value(result));
  }

  const Tree& tree_;
  const Environment& environment_;
  std::vector<std::pair<std::string_view, std::int64_t>> variables_;
};

}  // namespace

std::string Environment::missing(std::string_view name) const {
  return fmt::format("config.json has no {}", quoted(name));
}

Result<Value> Expression::evaluate(const Environment& environment) const {
  MLXMILL_ASSIGN(const Operand result, Evaluator(*tree_, environment).value(tree_->root));
  return result.value();
}

Result<bool> Expression::condition(const Environment& environment) const {
  MLXMILL_ASSIGN(const Operand result, Evaluator(*tree_, environment).value(tree_->root));
  return truth(result.value());
}

Result<std::int64_t> Expression::integer(const Environment& environment) const {
  Evaluator evaluator(*tree_, environment);
  MLXMILL_ASSIGN(const Operand result, evaluator.value(tree_->root));
  if (const std::int64_t* integer = result.value().as_int()) return *integer;
  return evaluator.wrong_type(tree_->root, result.value(), "an integer");
}

}  // namespace mlxmill::language
