// The [[rules]] of a declaration file, and the fragments that several files have in common.
#include <fmt/format.h>

#include "architectures/built_in.h"
#include "architectures/language.h"
#include "architectures/program.h"

namespace mlxmill::architectures::detail {
namespace {

/// The rules of src/architectures/fragments/NAME.toml. They use no other fragments.
Status add_fragment(const Node& node, std::string_view file_name,
                    std::vector<std::unique_ptr<Rule>>& rules) {
  TableReader table(node, file_name);
  MLXMILL_ASSIGN(const auto name, table.string("use"));
  MLXMILL_TRY(table.finish());
  std::vector<std::string> known;
  for (const BuiltInFile& file : built_in_fragments()) {
    known.emplace_back(file.name.substr(0, file.name.rfind('.')));
    if (known.back() != *name) continue;
    MLXMILL_ASSIGN(const Node document, parse_document(file.text, file.name));
    TableReader fragment(document, file.name);
    MLXMILL_ASSIGN(const auto nodes, tables(fragment, "rules"));
    MLXMILL_TRY(fragment.finish());
    for (const Node* rule_node : nodes) {
      MLXMILL_ASSIGN(std::unique_ptr<Rule> rule, parse_rule(*rule_node, file.name));
      rules.push_back(std::move(rule));
    }
    return {};
  }
  return table.error(node, fmt::format("there is no fragment {}; expected one of {}", quoted(*name),
                                       fmt::join(known, ", ")));
}

}  // namespace

Result<std::vector<const Node*>> tables(TableReader& file, std::string_view key) {
  std::vector<const Node*> result;
  const Node* node = file.find(key);
  if (!node) return result;
  const Node::Items* items = node->as_array();
  if (!items) return file.error(*node, fmt::format("{0} must be written as [[{0}]]", key));
  for (const Node& item : *items) {
    if (!item.as_table()) {
      return file.error(item, fmt::format("{0} must be written as [[{0}]]", key));
    }
    result.push_back(&item);
  }
  return result;
}

Result<std::vector<std::unique_ptr<Rule>>> parse_rules(const std::vector<const Node*>& nodes,
                                                       std::string_view file_name) {
  std::vector<std::unique_ptr<Rule>> rules;
  for (const Node* node : nodes) {
    TableReader table(*node, file_name);
    if (table.find("use")) {
      MLXMILL_TRY(add_fragment(*node, file_name, rules));
      continue;
    }
    MLXMILL_ASSIGN(std::unique_ptr<Rule> rule, parse_rule(*node, file_name));
    rules.push_back(std::move(rule));
  }
  return rules;
}

}  // namespace mlxmill::architectures::detail
