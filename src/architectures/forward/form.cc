#include "architectures/forward/form.h"

#include <fmt/format.h>

#include <algorithm>

#include "architectures/program.h"

namespace mlxmill::architectures {

Error Form::wrong(std::string_view key, const base::Value& got, std::string_view expected) {
  const Node* node = table_.find(key);
  return table_.error(node ? *node : node_,
                      fmt::format("{} is {}; expected {}", key, got.type_name(), expected));
}

Result<std::optional<base::Value>> Form::evaluate(std::string_view key, std::string_view fallback) {
  const Node* node = table_.find(key);
  if (!node && fallback.empty()) return std::optional<base::Value>();
  MLXMILL_ASSIGN(const Expression expression,
                 node ? detail::parse_expression(*node, context_.file_name)
                      : Expression::parse(fallback, context_.file_name, table_.line()));
  MLXMILL_ASSIGN(base::Value value, expression.evaluate(context_.scope));
  if (value.is_null()) return std::optional<base::Value>();
  return std::optional<base::Value>(std::move(value));
}

Result<std::string> Form::path_of(const Node& node) {
  const std::string* text = node.as_string();
  if (!text || text->empty()) return table_.error(node, "expected the path of a module");
  std::string result;
  std::string_view rest = *text;
  while (true) {
    const std::size_t open = rest.find('{');
    result += rest.substr(0, open);
    if (open == std::string_view::npos) break;
    const std::size_t close = rest.find('}', open);
    if (close == std::string_view::npos) {
      return table_.error(node, fmt::format("{} has a brace without its partner", quoted(*text)));
    }
    const std::string_view gap = rest.substr(open + 1, close - open - 1);
    MLXMILL_ASSIGN(const Expression expression,
                   Expression::parse(gap, context_.file_name, node.line));
    MLXMILL_ASSIGN(const base::Value value, expression.evaluate(context_.scope));
    if (const auto* integer = value.as_int()) {
      result += std::to_string(*integer);
    } else if (const auto* word = value.as_string()) {
      result += *word;
    } else {
      return table_.error(node, fmt::format("{{{}}} is {}; expected an integer or a string", gap,
                                            value.type_name()));
    }
    rest.remove_prefix(close + 1);
  }
  return result.starts_with('/') ? result.substr(1) : context_.at + result;
}

Result<std::string> Form::path(std::string_view key) {
  const Node* node = table_.find(key);
  if (!node) return std::string();
  if (!node->as_table()) return path_of(*node);
  Form form(*node, context_);
  MLXMILL_ASSIGN(const bool applies, form.applies());
  const Node* at = form.table_.find("at");
  if (!at) return form.error("a path of a table needs \"at\"");
  MLXMILL_TRY(form.finish());
  return applies ? path_of(*at) : Result<std::string>(std::string());
}

Result<std::string> Form::needed_path(std::string_view key) {
  MLXMILL_ASSIGN(std::string result, path(key));
  if (result.empty()) return error(fmt::format("there is no {}; expected a module's path", key));
  return result;
}

Result<std::optional<double>> Form::maybe_number(std::string_view key, std::string_view fallback) {
  MLXMILL_ASSIGN(const auto found, evaluate(key, fallback));
  if (!found) return std::optional<double>();
  if (const auto* integer = found->as_int()) return std::optional(static_cast<double>(*integer));
  if (const double* real = found->as_float()) return std::optional(*real);
  return wrong(key, *found, "a number");
}

Result<double> Form::number(std::string_view key, double fallback) {
  MLXMILL_ASSIGN(const auto found, maybe_number(key));
  return found.value_or(fallback);
}

Result<std::optional<std::int64_t>> Form::maybe_integer(std::string_view key,
                                                        std::string_view fallback) {
  MLXMILL_ASSIGN(const auto found, evaluate(key, fallback));
  if (!found) return std::optional<std::int64_t>();
  if (const auto* integer = found->as_int()) return std::optional(*integer);
  return wrong(key, *found, "an integer");
}

Result<std::int64_t> Form::integer(std::string_view key, std::int64_t fallback) {
  MLXMILL_ASSIGN(const auto found, maybe_integer(key));
  return found.value_or(fallback);
}

Result<std::int64_t> Form::count(std::string_view key) {
  MLXMILL_ASSIGN(const auto found, maybe_integer(key));
  // Nothing of a model is larger, and products of two such do not overflow.
  if (found && *found >= 1 && *found <= 10'000'000) return *found;
  return error(fmt::format("{} is {}; expected a positive integer", key,
                           found ? std::to_string(*found) : "not there"));
}

Result<bool> Form::condition(std::string_view key, bool fallback) {
  const Node* node = table_.find(key);
  if (!node) return fallback;
  MLXMILL_ASSIGN(const Expression expression, detail::parse_expression(*node, context_.file_name));
  return expression.condition(context_.scope);
}

Result<base::Value> Form::value(std::string_view key, std::string_view fallback) {
  MLXMILL_ASSIGN(auto found, evaluate(key, fallback));
  return found ? *std::move(found) : base::Value();
}

Result<std::size_t> Form::word(std::string_view key, const std::vector<std::string_view>& words) {
  MLXMILL_ASSIGN(const auto found, table_.string(key));
  if (!found) return std::size_t{0};
  const auto at = std::find(words.begin(), words.end(), *found);
  if (at != words.end()) return static_cast<std::size_t>(at - words.begin());
  return error(
      fmt::format("{} is {}; expected one of {}", key, quoted(*found), fmt::join(words, ", ")));
}

Result<Activation> Form::activation(std::string_view key, Activation fallback) {
  MLXMILL_ASSIGN(const auto found, evaluate(key, {}));
  if (!found) return fallback;
  const std::string* name = found->as_string();
  if (!name) return wrong(key, *found, "the name of an activation");
  if (const auto known = activation_named(*name)) return *known;
  return Error(Code::kUnsupported, fmt::format("activation {} is not known", quoted(*name)))
      .at(fmt::format("{}:{}", context_.file_name, table_.line()));
}

Result<NormSpec> Form::norm(std::string_view key) {
  const Node* node = table_.find(key);
  if (!node) return NormSpec();
  NormSpec norm = context_.norm;
  if (!node->as_table()) {
    MLXMILL_ASSIGN(norm.path, path_of(*node));
    return norm;
  }
  Form form(*node, context_);
  MLXMILL_ASSIGN(const bool applies, form.applies());
  MLXMILL_ASSIGN(norm.path, form.path("at"));
  if (form.has("kind")) {
    MLXMILL_ASSIGN(const std::size_t kind, form.word("kind", {"rms", "layer"}));
    norm.kind = kind == 0 ? NormSpec::Kind::kRms : NormSpec::Kind::kLayer;
  }
  MLXMILL_ASSIGN(norm.epsilon, form.number("epsilon", norm.epsilon));
  MLXMILL_ASSIGN(norm.offset, form.number("offset", norm.offset));
  MLXMILL_TRY(form.finish());
  return applies ? norm : NormSpec();
}

Result<TemperatureSpec> Form::temperature(std::string_view key) {
  TemperatureSpec spec;
  MLXMILL_ASSIGN(const auto found, form(key));
  if (!found) return spec;
  Form table = *found;
  MLXMILL_ASSIGN(spec.scale, table.number("scale", 0));
  MLXMILL_ASSIGN(spec.every, table.number("every", 1));
  MLXMILL_ASSIGN(spec.from, table.number("from", 0));
  MLXMILL_TRY(table.finish());
  if (!(spec.every > 0)) return table.error("every must be above 0");
  return spec;
}

Result<std::string> Form::text(std::string_view key) {
  MLXMILL_ASSIGN(auto found, table_.string(key));
  return found ? *std::move(found) : std::string();
}

Result<std::optional<Form>> Form::form(std::string_view key) {
  const Node* node = table_.find(key);
  if (!node) return std::optional<Form>();
  if (!node->as_table()) {
    return table_.error(*node, fmt::format("{} is {}; expected a table", key, node->type_name()));
  }
  Form result(*node, context_);
  MLXMILL_ASSIGN(const bool applies, result.applies());
  return applies ? std::optional<Form>(std::move(result)) : std::optional<Form>();
}

std::optional<Activation> activation_named(std::string_view name) {
  // transformers activations.py ACT2FN.
  static constexpr std::pair<std::string_view, Activation> kNames[] = {
      {"silu", Activation::kSilu},
      {"swish", Activation::kSilu},
      {"gelu", Activation::kGelu},
      {"gelu_new", Activation::kGeluTanh},
      {"gelu_pytorch_tanh", Activation::kGeluTanh},
      {"gelu_fast", Activation::kGeluTanh},
      {"quick_gelu", Activation::kGeluFast},
      {"relu", Activation::kRelu},
      {"relu2", Activation::kReluSquared},
      {"sigmoid", Activation::kSigmoid},
      {"tanh", Activation::kTanh},
      {"softplus", Activation::kSoftplus},
      {"linear", Activation::kNone},
  };
  for (const auto& [known, activation] : kNames) {
    if (known == name) return activation;
  }
  return std::nullopt;
}

}  // namespace mlxmill::architectures
