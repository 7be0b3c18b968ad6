// The [[modules]] tables: what the converted model holds.
#include <fmt/format.h>

#include <algorithm>

#include "architectures/language.h"
#include "architectures/program.h"

namespace mlxmill::architectures::detail {
namespace {

struct KindName {
  std::string_view key;
  ModuleKind kind;
  std::size_t min_rank;
  std::size_t max_rank;
};

constexpr KindName kKinds[] = {
    {"linear", ModuleKind::kLinear, 2, 2},       {"bitlinear", ModuleKind::kBitLinear, 2, 2},
    {"embedding", ModuleKind::kEmbedding, 2, 2}, {"stacked", ModuleKind::kStacked, 3, 3},
    {"norm", ModuleKind::kNorm, 1, 2},
};

Result<PathTemplate> parse_path(const std::string& text, std::string_view file_name,
                                std::uint32_t line) {
  PathTemplate path;
  std::size_t at = 0;
  while (at < text.size()) {
    const std::size_t open = text.find_first_of("{}", at);
    if (open != at) path.elements.push_back({text.substr(at, open - at), false, {}});
    if (open == std::string::npos) break;
    const std::size_t close = text.find('}', open);
    if (text[open] == '}' || close == std::string::npos) {
      return error_at(file_name, line,
                      fmt::format("{} has a brace without its partner", quoted(text)));
    }
    const std::string gap = text.substr(open + 1, close - open - 1);
    at = close + 1;
    const std::size_t less = gap.find('<');
    std::string name = gap.substr(0, less);
    name.erase(name.find_last_not_of(' ') + 1);
    if (!is_identifier(name)) {
      return error_at(file_name, line,
                      fmt::format("{{{}}} is no loop; expected {{i < count}} or {{i}}", gap));
    }
    PathTemplate::Element element{name, true, {}};
    if (less != std::string::npos) {
      const std::size_t begin = std::min(gap.find_first_not_of(' ', less + 1), gap.size());
      MLXMILL_ASSIGN(element.bound, Expression::parse(gap.substr(begin), file_name, line));
    }
    path.elements.push_back(std::move(element));
  }
  if (path.elements.size() > 16) {
    return error_at(file_name, line, fmt::format("{} has more than 16 parts", quoted(text)));
  }
  return path;
}

Result<std::vector<Expression>> parse_extents(const Node& node, std::string_view file_name) {
  const Node::Items* items = node.as_array();
  std::vector<Expression> extents;
  if (!items || items->size() > 8) {
    return error_at(file_name, node.line,
                    fmt::format("expected a list of at most 8 sizes, got {}", node.type_name()));
  }
  for (const Node& item : *items) {
    MLXMILL_ASSIGN(Expression extent, parse_expression(item, file_name));
    extents.push_back(std::move(extent));
  }
  return extents;
}

Result<QuantizeRule> parse_quantize(const Node& node, std::string_view file_name) {
  QuantizeRule rule;
  if (const bool* quantize = node.as_bool()) {
    rule.quantize = *quantize;
    return rule;
  }
  if (!node.as_table()) {
    return error_at(
        file_name, node.line,
        fmt::format("quantize is wrong; expected false or {{ bits, group_size, affine }}, got {}",
                    node.type_name()));
  }
  TableReader table(node, file_name);
  const auto number = [&](std::string_view key, std::initializer_list<int> legal,
                          std::optional<int>& value) -> Status {
    const Node* found = table.find(key);
    if (!found) return {};
    const std::int64_t* integer = found->as_int();
    if (!integer || std::find(legal.begin(), legal.end(), *integer) == legal.end()) {
      return table.error(*found, fmt::format("{} is not one libmlx has", key));
    }
    value = static_cast<int>(*integer);
    return {};
  };
  MLXMILL_TRY(number("bits", {2, 3, 4, 5, 6, 8}, rule.bits));
  MLXMILL_TRY(number("group_size", {32, 64, 128}, rule.group_size));
  if (const Node* affine = table.find("affine")) {
    if (!affine->as_bool() || !*affine->as_bool()) {
      return table.error(*affine, "affine is wrong; expected true");
    }
    rule.affine = true;
  }
  MLXMILL_TRY(table.finish());
  return rule;
}

/// The kind's key with its sizes, and the bias that follows from them.
Status parse_kind(TableReader& table, ModuleSpec& spec) {
  int n_kinds = 0;
  for (const KindName& kind : kKinds) {
    const Node* node = table.find(kind.key);
    if (!node) continue;
    ++n_kinds;
    MLXMILL_ASSIGN(std::vector<Expression> extents, parse_extents(*node, table.file_name()));
    if (extents.size() < kind.min_rank || extents.size() > kind.max_rank) {
      return table.error(*node, fmt::format("{} has {} sizes; expected {}", kind.key,
                                            extents.size(), kind.min_rank));
    }
    spec.kind = kind.kind;
    if (kind.kind != ModuleKind::kEmbedding) {
      // A linear layer's bias has its outputs, a stacked one's a row of them for each slice.
      const auto last = extents.end() - (kind.kind == ModuleKind::kNorm ? 0 : 1);
      spec.bias = Parameter{"bias", std::vector<Expression>(extents.begin(), last)};
    }
    spec.parameters.push_back({"weight", std::move(extents)});
  }
  if (const Node* node = table.find("tensors")) {
    ++n_kinds;
    const Node::Entries* entries = node->as_table();
    if (!entries || entries->empty()) {
      return table.error(*node, "tensors is wrong; expected { name = [sizes], ... }");
    }
    for (const Entry& entry : *entries) {
      MLXMILL_ASSIGN(auto extents, parse_extents(entry.value, table.file_name()));
      spec.parameters.push_back({entry.key, std::move(extents)});
    }
  }
  if (n_kinds == 1) return {};
  return table.error(table.line(),
                     "a module is exactly one of linear, bitlinear, embedding, stacked, norm and "
                     "tensors");
}

Status parse_keep(TableReader& table, ModuleSpec& spec) {
  const Node* node = table.find("keep_dtype");
  if (!node) return {};
  if (const bool* all = node->as_bool()) {
    spec.keeps_all = *all;
    return {};
  }
  MLXMILL_ASSIGN(spec.keeps, table.strings("keep_dtype"));
  for (const std::string& name : spec.keeps) {
    const bool known = std::any_of(spec.parameters.begin(), spec.parameters.end(),
                                   [&](const Parameter& p) { return p.name == name; });
    if (!known && name != "bias") {
      return table.error(
          *node, fmt::format("keep_dtype names {}, which the module does not have", quoted(name)));
    }
  }
  return {};
}

Result<ModuleSpec> parse_module(const PathTemplate& path, const Node& node,
                                std::string_view file_name) {
  ModuleSpec spec;
  spec.line = node.line;
  spec.path = path;
  TableReader table(node, file_name);
  MLXMILL_TRY(parse_kind(table, spec));
  if (const Node* bias = table.find("bias")) {
    if (!spec.bias) {
      return table.error(*bias, "only linear, bitlinear, stacked and norm modules have a bias");
    }
    MLXMILL_ASSIGN(spec.has_bias, parse_expression(*bias, file_name));
  }
  if (const Node* when = table.find("when")) {
    MLXMILL_ASSIGN(spec.when, parse_expression(*when, file_name));
  }
  if (const Node* count = table.find("parameters")) {
    MLXMILL_ASSIGN(spec.count, parse_expression(*count, file_name));
  }
  if (const Node* quantize = table.find("quantize")) {
    if (!is_quantizable(spec.kind)) {
      return table.error(*quantize, "only linear, embedding and stacked modules are quantized");
    }
    MLXMILL_ASSIGN(spec.rule, parse_quantize(*quantize, file_name));
  }
  MLXMILL_TRY(parse_keep(table, spec));
  MLXMILL_TRY(table.finish());
  return spec;
}

}  // namespace

Result<Block> parse_block(const Node& node, std::string_view file_name) {
  Block block;
  TableReader table(node, file_name);
  if (const Node* at = table.find("at")) {
    if (!at->as_string()) return table.error(*at, "at must be a path");
    MLXMILL_ASSIGN(block.at, parse_path(*at->as_string(), file_name, at->line));
  }
  if (const Node* when = table.find("when")) {
    MLXMILL_ASSIGN(block.when, parse_expression(*when, file_name));
  }
  for (const Entry& entry : *node.as_table()) {
    if (entry.key == "at" || entry.key == "when") continue;
    // What stands behind " #" tells two places of one path apart.
    const std::string key = entry.key.substr(0, entry.key.find(" #"));
    MLXMILL_ASSIGN(const PathTemplate path, parse_path(key, file_name, entry.line));
    // Several modules of one path differ in their conditions.
    const Node::Items* items = entry.value.as_array();
    const std::size_t n = items ? items->size() : 1;
    for (std::size_t i = 0; i < n; ++i) {
      const Node& one = items ? (*items)[i] : entry.value;
      if (!one.as_table()) {
        return table.error(entry.line,
                           fmt::format("{} is no module; expected {{ linear = [...] }} or "
                                       "the like, got {}",
                                       quoted(entry.key), one.type_name()));
      }
      MLXMILL_ASSIGN(ModuleSpec spec, parse_module(path, one, file_name));
      block.modules.push_back(std::move(spec));
    }
  }
  if (block.modules.empty()) return table.error(node.line, "[[modules]] without a module");
  return block;
}

}  // namespace mlxmill::architectures::detail
