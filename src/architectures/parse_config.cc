// The tables [config], [fill] and [stands_in].
#include <fmt/format.h>

#include "architectures/language.h"
#include "architectures/program.h"

namespace mlxmill::architectures::detail {
namespace {

constexpr std::size_t kMaxConfigRules = 100;
constexpr std::size_t kMaxConfigDepth = 8;

/// The parts of "text_config.vocab_size"; empty when one of them is.
std::vector<std::string> parts_of(std::string_view key) {
  std::vector<std::string> parts;
  while (true) {
    const std::size_t dot = key.find('.');
    if (dot == 0 || key.empty()) return {};
    parts.emplace_back(key.substr(0, dot));
    if (dot == std::string_view::npos) return parts;
    key.remove_prefix(dot + 1);
  }
}

Result<ConfigRule> parse_config_rule(const Entry& entry, std::string_view file_name,
                                     std::string_view table_name) {
  ConfigRule rule;
  rule.path = parts_of(entry.key);
  if (rule.path.empty() || rule.path.size() > kMaxConfigDepth) {
    return error_at(file_name, entry.line,
                    fmt::format("{} is no key of config.json", quoted(entry.key)));
  }
  if (!entry.value.as_table()) {
    MLXMILL_ASSIGN(rule.value, parse_expression(entry.value, file_name));
    return rule;
  }
  TableReader table(entry.value, file_name);
  if (const Node* value = table.find("value")) {
    MLXMILL_ASSIGN(rule.value, parse_expression(*value, file_name));
  }
  const Node* remove = table.find("remove");
  const Node* object = table.find("object");
  const auto is_true = [](const Node* node) { return node && node->as_bool() && *node->as_bool(); };
  rule.is_object = is_true(object);
  if (rule.value.has_value() + is_true(remove) + rule.is_object != 1 ||
      (remove && !is_true(remove)) || (object && !rule.is_object)) {
    return table.error(
        entry.line,
        fmt::format("a key of [{}] has a value, object = true, or remove = true", table_name));
  }
  if (const Node* when = table.find("when")) {
    MLXMILL_ASSIGN(rule.when, parse_expression(*when, file_name));
  }
  MLXMILL_TRY(table.finish());
  return rule;
}

}  // namespace

Result<std::vector<ConfigRule>> parse_config(TableReader& file, std::string_view table) {
  std::vector<ConfigRule> result;
  const Node* node = file.find(table);
  if (!node) return result;
  const Node::Entries* entries = node->as_table();
  if (!entries || entries->size() > kMaxConfigRules) {
    return file.error(
        *node, fmt::format("[{}] must be a table of at most {} keys", table, kMaxConfigRules));
  }
  for (const Entry& entry : *entries) {
    MLXMILL_ASSIGN(ConfigRule rule, parse_config_rule(entry, file.file_name(), table));
    result.push_back(std::move(rule));
  }
  return result;
}

Result<std::optional<StandIn>> parse_stand_in(TableReader& file) {
  const Node* node = file.find("stands_in");
  if (!node) return std::optional<StandIn>();
  if (!node->as_table()) return file.error(*node, "stands_in must be written as [stands_in]");
  TableReader table(*node, file.file_name());
  const Node* order = table.find("order");
  if (!order || !order->as_int()) {
    return table.error(*node, "[stands_in] needs an order; expected an integer");
  }
  StandIn result;
  result.order = *order->as_int();
  if (const Node* when = table.find("when")) {
    MLXMILL_ASSIGN(result.when, parse_expression(*when, file.file_name()));
  }
  MLXMILL_TRY(table.finish());
  return std::optional<StandIn>(std::move(result));
}

}  // namespace mlxmill::architectures::detail
