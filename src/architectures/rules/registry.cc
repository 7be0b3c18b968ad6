// Which key makes which rule.
#include <fmt/format.h>

#include "architectures/program.h"
#include "architectures/rules/rules.h"

namespace mlxmill::architectures {
namespace {

struct RuleKind {
  std::string_view key;
  rules::Maker make;
};

constexpr RuleKind kKinds[] = {
    {"add", rules::make_add},
    {"concat", rules::make_concat},
    {"constant", rules::make_constant},
    {"copy", rules::make_copy},
    {"decode", rules::make_decode},
    {"drop", rules::make_drop},
    {"fold", rules::make_fold},
    {"log_of_negative", rules::make_log_of_negative},
    {"multiply", rules::make_multiply},
    {"normalize", rules::make_normalize},
    {"only", rules::make_only},
    {"refuse", rules::make_refuse},
    {"rename", rules::make_rename},
    {"residual_gate", rules::make_residual_gate},
    {"reshape", rules::make_reshape},
    {"split", rules::make_split},
    {"squeeze", rules::make_squeeze},
    {"stack", rules::make_stack},
    {"transpose", rules::make_transpose},
};

std::string all_kinds() {
  std::string text;
  for (const RuleKind& kind : kKinds) text += (text.empty() ? "" : ", ") + std::string(kind.key);
  return text;
}

}  // namespace

Result<std::unique_ptr<Rule>> parse_rule(const Node& node, std::string_view file_name) {
  TableReader table(node, file_name);
  const RuleKind* found = nullptr;
  for (const RuleKind& kind : kKinds) {
    if (!table.find(kind.key)) continue;
    if (found) {
      return table.error(node.line, fmt::format("a rule is both {} and {}; expected one kind",
                                                found->key, kind.key));
    }
    found = &kind;
  }
  if (!found) {
    return table.error(node.line, "a rule without a kind; expected one of " + all_kinds());
  }
  RuleHead head;
  head.file_name = file_name;
  head.line = node.line;
  MLXMILL_ASSIGN(head.patterns, detail::parse_patterns(table, found->key));
  if (head.patterns.empty()) {
    return table.error(node.line, fmt::format("{} names no tensor", found->key));
  }
  MLXMILL_ASSIGN(const auto why, table.string("why"));
  head.why = why.value_or("");
  if (const Node* when = table.find("when")) {
    MLXMILL_ASSIGN(head.when, detail::parse_expression(*when, file_name));
  }
  RuleReader reader(table, std::move(head));
  MLXMILL_ASSIGN(std::unique_ptr<Rule> rule, found->make(reader));
  MLXMILL_TRY(table.finish());
  return rule;
}

}  // namespace mlxmill::architectures
