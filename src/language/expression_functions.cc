#include "language/expression_functions.h"

#include <algorithm>
#include <charconv>
#include <cmath>
#include <cstdint>
#include <numbers>
#include <optional>
#include <string>

namespace mlxmill::language {
namespace {

using base::Value;
using Called = std::variant<Value, FunctionError>;
using Arguments = std::span<const Value>;

constexpr std::size_t kMany = 16;

constexpr Function kFunctions[] = {
    {"has", 1, 1, "has(tensor)"},
    {"any", 1, 1, "any(pattern)"},
    {"shape_of", 1, 1, "shape_of(tensor)"},
    {"given", 1, 1, "given(key)", true},
    {"len", 1, 1, "len(x)"},
    {"starts_with", 2, 2, "starts_with(text, start)"},
    {"ends_with", 2, 2, "ends_with(text, end)"},
    {"numbers", 1, 1, "numbers(text)"},
    {"int", 1, 1, "int(x)"},
    {"round", 1, 2, "round(x, digits)"},
    {"cast", 2, 2, "cast(x, dtype)"},
    {"min", 1, kMany, "min(x, ...)"},
    {"max", 1, kMany, "max(x, ...)"},
    {"sqrt", 1, 1, "sqrt(x)"},
    {"normal_cdf", 1, 1, "normal_cdf(x)"},
    {"text", 1, 1, "text(x)"},
};

// Every double below it is an int64_t once its fraction is gone.
constexpr double kTwoTo63 = 9223372036854775808.0;

std::optional<double> number(const Value& value) {
  if (const auto* integer = value.as_int()) return static_cast<double>(*integer);
  if (const double* real = value.as_float()) return *real;
  return std::nullopt;
}

Called integer_of(double x) {
  if (!(x > -kTwoTo63 && x < kTwoTo63)) {
    return FunctionError{FunctionError::kNoArgument, "a number does not fit in 64 bits"};
  }
  return Value(static_cast<std::int64_t>(x));
}

Called length(Arguments arguments) {
  const Value& x = arguments[0];
  if (const auto* array = x.as_array()) return Value(static_cast<std::int64_t>(array->size()));
  if (const auto* text = x.as_string()) return Value(static_cast<std::int64_t>(text->size()));
  return FunctionError{0, "an array or a string"};
}

Called text_test(Arguments arguments, bool at_start) {
  const std::string* text = arguments[0].as_string();
  const std::string* part = arguments[1].as_string();
  if (!text) return FunctionError{0, "a string"};
  if (!part) return FunctionError{1, "a string"};
  return Value(at_start ? text->starts_with(*part) : text->ends_with(*part));
}

/// Half to even of the exact product x * scale, of which `product` is the rounded value.
double round_product(double x, double scale) {
  const double product = x * scale;
  const double down = std::floor(product);
  if (product != down + 0.5) return product < down + 0.5 ? down : down + 1;
  const double rest = std::fma(x, scale, -product);
  if (rest != 0) return rest < 0 ? down : down + 1;
  return std::fmod(down, 2) == 0 ? down : down + 1;
}

Called rounded(Arguments arguments) {
  const auto x = number(arguments[0]);
  if (!x) return FunctionError{0, "a number"};
  if (arguments.size() == 1) {
    if (arguments[0].as_int()) return arguments[0];
    return std::isfinite(*x) ? integer_of(round_product(*x, 1)) : integer_of(*x);
  }
  const std::int64_t* digits = arguments[1].as_int();
  if (!digits || *digits < 0 || *digits > 15) return FunctionError{1, "an integer from 0 to 15"};
  if (arguments[0].as_int()) return arguments[0];
  // Powers of ten are exact up to 1e22; beyond 2^52 there is no fraction left to round.
  double scale = 1;
  for (std::int64_t i = 0; i < *digits; ++i) scale *= 10;
  if (!(std::abs(*x) * scale < 4503599627370496.0)) return arguments[0];
  return Value(round_product(*x, scale) / scale);
}

bool less(const Value& a, const Value& b) {
  if (a.as_int() && b.as_int()) return *a.as_int() < *b.as_int();
  return *number(a) < *number(b);
}

Called extreme(Arguments arguments, bool smallest) {
  const base::Array* list = arguments.size() == 1 ? arguments[0].as_array() : nullptr;
  const Arguments items = list ? Arguments(*list) : arguments;
  if (items.empty()) return FunctionError{FunctionError::kNoArgument, "an empty list has no such"};
  for (std::size_t i = 0; i < items.size(); ++i) {
    if (!number(items[i])) {
      return FunctionError{list ? 0 : i, list ? "an array of numbers" : "a number"};
    }
  }
  const Value* best = &items[0];
  for (const Value& item : items) {
    if (smallest ? less(item, *best) : less(*best, item)) best = &item;
  }
  return *best;
}

/// The integers of "1, 2,3".
Called numbers(Arguments arguments) {
  const std::string* text = arguments[0].as_string();
  if (!text) return FunctionError{0, "a string"};
  base::Array result;
  std::string_view rest = *text;
  while (true) {
    const std::size_t comma = rest.find(',');
    std::string_view part = rest.substr(0, comma);
    while (part.starts_with(' ')) part.remove_prefix(1);
    while (part.ends_with(' ')) part.remove_suffix(1);
    std::int64_t value = 0;
    const auto end = std::from_chars(part.data(), part.data() + part.size(), value);
    if (part.empty() || end.ec != std::errc() || end.ptr != part.data() + part.size()) {
      return FunctionError{FunctionError::kNoArgument, "a text is no list of integers: \"1,2\""};
    }
    result.emplace_back(value);
    if (comma == std::string_view::npos) return Value(std::move(result));
    rest.remove_prefix(comma + 1);
  }
}

Called truncated(Arguments arguments) {
  if (arguments[0].as_int()) return arguments[0];
  if (const bool* boolean = arguments[0].as_bool()) return Value(*boolean ? 1 : 0);
  const auto x = number(arguments[0]);
  if (!x) return FunctionError{0, "a number"};
  return integer_of(std::trunc(*x));
}

/// Half to even to `digits` binary digits, of which none is worth less than 2^least.
double round_binary(double x, int digits, int least) {
  int exponent = 0;
  std::frexp(x, &exponent);
  const double unit = std::ldexp(1, std::max(exponent - digits, least));
  return std::nearbyint(x / unit) * unit;
}

/// A number as an array of that type holds it. mlx goes through float32.
Called cast(Arguments arguments) {
  const auto x = number(arguments[0]);
  if (!x || !std::isfinite(*x)) return FunctionError{0, "a finite number"};
  const std::string* type = arguments[1].as_string();
  const double single = round_binary(*x, 24, -149);
  if (type && *type == "F32" && std::abs(single) < 0x1p128) return Value(single);
  const double half = round_binary(single, 11, -24);
  if (type && *type == "F16" && std::abs(half) < 0x1p16) return Value(half);
  const double brain = round_binary(single, 8, -133);
  if (type && *type == "BF16" && std::abs(brain) < 0x1p128) return Value(brain);
  return FunctionError{1, "'F32', 'F16' or 'BF16', with room for the number"};
}

Called square_root(Arguments arguments) {
  const auto x = number(arguments[0]);
  if (!x || !(*x >= 0)) return FunctionError{0, "a number that is not negative"};
  return Value(std::sqrt(*x));
}

/// How much of the normal distribution lies below x.
Called normal_cdf(Arguments arguments) {
  const auto x = number(arguments[0]);
  if (!x || std::isnan(*x)) return FunctionError{0, "a number"};
  return Value(std::erfc(-*x / std::numbers::sqrt2) / 2);
}

Called text_of(Arguments arguments) {
  const std::int64_t* integer = arguments[0].as_int();
  if (!integer) return FunctionError{0, "an integer"};
  return Value(std::to_string(*integer));
}

}  // namespace

std::span<const Function> functions() { return kFunctions; }

std::variant<base::Value, FunctionError> call_function(std::string_view name,
                                                       std::span<const base::Value> arguments) {
  if (name == "len") return length(arguments);
  if (name == "starts_with") return text_test(arguments, true);
  if (name == "ends_with") return text_test(arguments, false);
  if (name == "numbers") return numbers(arguments);
  if (name == "int") return truncated(arguments);
  if (name == "round") return rounded(arguments);
  if (name == "cast") return cast(arguments);
  if (name == "sqrt") return square_root(arguments);
  if (name == "normal_cdf") return normal_cdf(arguments);
  if (name == "text") return text_of(arguments);
  if (name == "min") return extreme(arguments, true);
  return extreme(arguments, false);
}

}  // namespace mlxmill::language
