#include "architectures/rule.h"

#include <fmt/format.h>

#include "architectures/program.h"

namespace mlxmill::architectures {
namespace {

void set_variables(Scope::Locals& locals, const TensorView& view, const Captures& captures) {
  base::Array shape;
  for (const std::int64_t extent : view.shape) shape.emplace_back(extent);
  locals.set("shape", base::Value(std::move(shape)));
  locals.set("dtype", base::Value(dtype_name(view.dtype)));
  for (const Capture& capture : captures) {
    locals.set(capture.name,
               capture.number ? base::Value(*capture.number) : base::Value(capture.text));
  }
}

}  // namespace

std::string Rule::where() const { return fmt::format("{}:{}", head_.file_name, head_.line); }

Status Rule::rewrite(Work& work, const Visit& visit) const {
  std::vector<TensorView> result;
  bool any = false;
  const auto located = [&](Error error) {
    // An expression has said where it stands; a tensor does not know its rule.
    if (error.where().starts_with(head_.file_name)) return error;
    return std::move(error).at(where());
  };
  const std::vector<TensorView>& views = work.tensors.views();
  for (std::size_t i = 0; i < views.size(); ++i) {
    const TensorView& view = views[i];
    std::optional<Captures> captures;
    for (const Pattern& pattern : head_.patterns) {
      if ((captures = pattern.match(view.name))) break;
    }
    bool applies = captures.has_value();
    Scope::Locals locals(work.scope);
    if (applies) set_variables(locals, view, *captures);
    if (applies && head_.when) {
      MLXMILL_ASSIGN(applies, head_.when->condition(work.scope));
    }
    if (!applies) {
      if (any) result.push_back(view);
      continue;
    }
    // Most rules match nothing in most checkpoints: copies start at the first match.
    if (!any) result.assign(views.begin(), views.begin() + static_cast<std::ptrdiff_t>(i));
    any = true;
    if (Status status = visit({view, *captures, work.scope}, result); !status) {
      return located(std::move(status).error());
    }
  }
  if (!any) return {};
  if (Status status = work.tensors.replace(std::move(result)); !status) {
    return located(std::move(status).error());
  }
  return {};
}

Result<std::vector<Template>> RuleReader::templates(std::string_view key) {
  MLXMILL_ASSIGN(const std::vector<std::string> texts, table_.strings(key));
  if (texts.empty()) {
    return table_.error(table_.line(), fmt::format("the rule has no {}; expected a name", key));
  }
  const Node* node = table_.find(key);
  std::vector<Template> result;
  for (const std::string& text : texts) {
    auto parsed = Template::parse(text);
    if (!parsed) return table_.error(*node, parsed.error().what());
    for (const Pattern& pattern : head_.patterns) {
      if (const auto gap = parsed->missing_in(pattern)) {
        return table_.error(*node, fmt::format("{{{}}} of {} is not captured by {}", *gap,
                                               quoted(text), quoted(pattern.text())));
      }
    }
    result.push_back(*std::move(parsed));
  }
  return result;
}

Result<Template> RuleReader::name(std::string_view key) {
  MLXMILL_ASSIGN(std::vector<Template> names, templates(key));
  if (names.size() != 1 || names[0].has_part_number()) {
    return table_.error(*table_.find(key), fmt::format("{} must be one name", key));
  }
  return std::move(names[0]);
}

Result<std::optional<Expression>> RuleReader::expression(std::string_view key) {
  const Node* node = table_.find(key);
  if (!node) return std::optional<Expression>();
  MLXMILL_ASSIGN(Expression result, detail::parse_expression(*node, table_.file_name()));
  return std::optional<Expression>(std::move(result));
}

Result<std::vector<Expression>> RuleReader::expressions(std::string_view key) {
  std::vector<Expression> result;
  const Node* node = table_.find(key);
  if (!node) return result;
  const Node::Items* items = node->as_array();
  if (!items || items->empty()) {
    return table_.error(*node, fmt::format("{} is wrong; expected a list of sizes", key));
  }
  for (const Node& item : *items) {
    MLXMILL_ASSIGN(Expression expression, detail::parse_expression(item, table_.file_name()));
    result.push_back(std::move(expression));
  }
  return result;
}

Result<std::optional<std::int64_t>> RuleReader::integer(std::string_view key) {
  const Node* node = table_.find(key);
  if (!node) return std::optional<std::int64_t>();
  if (const std::int64_t* value = node->as_int()) return std::optional<std::int64_t>(*value);
  return table_.error(
      *node, fmt::format("{} is wrong; expected an integer, got {}", key, node->type_name()));
}

Status check_float(const TensorView& view) {
  if (is_mlx_float(view.dtype)) return {};
  return Error(Code::kInvalidInput,
               fmt::format("it is {}; expected BF16, F16 or F32", dtype_name(view.dtype)))
      .at(fmt::format("tensor {}", quoted(view.name)));
}

Result<std::size_t> axis_of(const TensorView& view, std::int64_t axis) {
  const auto rank = static_cast<std::int64_t>(view.shape.size());
  if (axis < -rank || axis >= rank) {
    return Error(Code::kInvalidInput,
                 fmt::format("its shape {} has no axis {}", base::to_string(view.shape), axis))
        .at(fmt::format("tensor {}", quoted(view.name)));
  }
  return static_cast<std::size_t>(axis < 0 ? axis + rank : axis);
}

}  // namespace mlxmill::architectures
