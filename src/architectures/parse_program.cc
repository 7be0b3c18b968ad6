// The top level of a declaration file.
#include <fmt/format.h>

#include <algorithm>
#include <map>

#include "architectures/language.h"
#include "architectures/program.h"

namespace mlxmill::architectures::detail {
namespace {

// Every let is looked up by walking the list.
constexpr std::size_t kMaxNamed = 200;

/// "text_config.vocab_size".
bool is_dotted_name(std::string_view text) {
  while (true) {
    const std::size_t dot = text.find('.');
    if (!is_identifier(text.substr(0, dot))) return false;
    if (dot == std::string_view::npos) return true;
    text.remove_prefix(dot + 1);
  }
}

Result<std::vector<Named>> parse_named(TableReader& file, std::string_view key) {
  std::vector<Named> result;
  const Node* node = file.find(key);
  if (!node) return result;
  const Node::Entries* entries = node->as_table();
  if (!entries || entries->size() > kMaxNamed) {
    return file.error(*node,
                      fmt::format("[{}] must be a table of at most {} names", key, kMaxNamed));
  }
  for (const Entry& entry : *entries) {
    // A default may lie in an object of the config; a let has a name of its own.
    if (key == "let" ? !is_identifier(entry.key) : !is_dotted_name(entry.key)) {
      return file.error(entry.line, fmt::format("{} is no name", quoted(entry.key)));
    }
    MLXMILL_ASSIGN(Expression value, parse_expression(entry.value, file.file_name()));
    result.push_back({entry.key, std::move(value)});
  }
  return result;
}

/// Finds a let that needs itself. In its own definition a name is the config's, so only longer ways
/// count.
class CycleFinder {
 public:
  CycleFinder(const std::vector<Named>& lets, std::string_view file_name)
      : lets_(lets), file_name_(file_name), state_(lets.size(), State::kNew) {}

  Status check() {
    for (std::size_t i = 0; i < lets_.size(); ++i) MLXMILL_TRY(visit(i));
    return {};
  }

 private:
  enum class State : std::uint8_t { kNew, kOpen, kDone };

  Status visit(std::size_t index) {
    if (state_[index] == State::kDone) return {};
    if (state_[index] == State::kOpen) {
      std::string chain;
      const auto from = std::find(path_.begin(), path_.end(), index);
      for (auto at = from; at != path_.end(); ++at) chain += lets_[*at].name + " -> ";
      return error_at(file_name_, lets_[index].value.line(),
                      fmt::format("[let] goes in a circle: {}{}", chain, lets_[index].name));
    }
    state_[index] = State::kOpen;
    path_.push_back(index);
    for (const std::string& name : lets_[index].value.names()) {
      for (std::size_t i = 0; i < lets_.size(); ++i) {
        if (i != index && lets_[i].name == name) MLXMILL_TRY(visit(i));
      }
    }
    path_.pop_back();
    state_[index] = State::kDone;
    return {};
  }

  const std::vector<Named>& lets_;
  std::string_view file_name_;
  std::vector<State> state_;
  std::vector<std::size_t> path_;
};

Result<std::vector<Check>> parse_checks(TableReader& file) {
  std::vector<Check> result;
  MLXMILL_ASSIGN(const auto nodes, tables(file, "checks"));
  for (const Node* node : nodes) {
    TableReader table(*node, file.file_name());
    const Node* that = table.find("that");
    MLXMILL_ASSIGN(const auto why, table.string("why"));
    if (!that || !why) return table.error(*node, "a check needs \"that\" and \"why\"");
    MLXMILL_ASSIGN(Expression expression, parse_expression(*that, file.file_name()));
    MLXMILL_TRY(table.finish());
    result.push_back({std::move(expression), *why});
  }
  return result;
}

/// [ignored]: key of config.json = the key that is read instead.
Result<std::vector<std::pair<std::string, std::string>>> parse_ignored(TableReader& file) {
  std::vector<std::pair<std::string, std::string>> result;
  const Node* node = file.find("ignored");
  if (!node) return result;
  const Node::Entries* entries = node->as_table();
  if (!entries || entries->size() > kMaxNamed) {
    return file.error(*node,
                      fmt::format("[ignored] must be a table of at most {} keys", kMaxNamed));
  }
  for (const Entry& entry : *entries) {
    const std::string* instead = entry.value.as_string();
    if (!instead) return file.error(entry.line, "[ignored] needs the name of the key that is read");
    result.emplace_back(entry.key, *instead);
  }
  return result;
}

Status parse_identity(TableReader& file, Program& program) {
  MLXMILL_ASSIGN(const auto family, file.string("family"));
  if (!family || family->empty()) {
    return file.error(1, "the file has no family; expected family = \"name\"");
  }
  program.family = *family;
  MLXMILL_ASSIGN(program.model_types, file.strings("model_types"));
  if (program.model_types.empty()) {
    return file.error(1, "the file has no model_types; expected the model_type of config.json");
  }
  MLXMILL_ASSIGN(program.architecture_names, file.strings("architectures"));
  MLXMILL_ASSIGN(program.required, file.strings("required"));
  MLXMILL_ASSIGN(const auto scope, file.string("scope"));
  program.scope = scope.value_or("");
  MLXMILL_ASSIGN(const auto as_is, file.string("as_is"));
  program.as_is = as_is.value_or("");
  MLXMILL_ASSIGN(program.ignored, parse_ignored(file));
  if (const Node* layers = file.find("layers")) {
    MLXMILL_ASSIGN(program.layers, parse_expression(*layers, file.file_name()));
  }
  return {};
}

}  // namespace

Result<Expression> parse_expression(const Node& node, std::string_view file_name) {
  std::string text;
  if (const std::string* string = node.as_string()) {
    text = *string;
  } else if (const std::int64_t* integer = node.as_int()) {
    text = fmt::format("{}", *integer);
  } else if (const double* number = node.as_float()) {
    text = fmt::format("{}", *number);
  } else if (const bool* boolean = node.as_bool()) {
    text = *boolean ? "true" : "false";
  } else {
    return error_at(file_name, node.line,
                    fmt::format("expected an expression, got {}", node.type_name()));
  }
  return Expression::parse(text, file_name, node.line);
}

Result<std::vector<Pattern>> parse_patterns(TableReader& table, std::string_view key) {
  MLXMILL_ASSIGN(const std::vector<std::string> texts, table.strings(key));
  std::vector<Pattern> result;
  for (const std::string& text : texts) {
    auto pattern = Pattern::parse(text);
    if (!pattern) return table.error(*table.find(key), pattern.error().what());
    result.push_back(*std::move(pattern));
  }
  return result;
}

Result<Program> parse_program(std::string_view text, std::string_view file_name) {
  MLXMILL_ASSIGN(const Node document, parse_document(text, file_name));
  TableReader file(document, file_name);
  Program program;
  program.file_name = file_name;
  MLXMILL_TRY(parse_identity(file, program));
  MLXMILL_ASSIGN(program.checks, parse_checks(file));
  MLXMILL_ASSIGN(program.defaults, parse_named(file, "defaults"));
  MLXMILL_ASSIGN(program.lets, parse_named(file, "let"));
  MLXMILL_TRY(CycleFinder(program.lets, file_name).check());
  MLXMILL_ASSIGN(program.fill, parse_config(file, "fill"));
  MLXMILL_ASSIGN(program.config, parse_config(file, "config"));
  MLXMILL_ASSIGN(program.stands_in, parse_stand_in(file));
  MLXMILL_ASSIGN(program.raw, parse_patterns(file, "raw"));
  MLXMILL_ASSIGN(program.keep_dtype, parse_patterns(file, "keep_dtype"));
  MLXMILL_ASSIGN(const auto rules, tables(file, "rules"));
  MLXMILL_ASSIGN(program.rules, parse_rules(rules, file_name));
  MLXMILL_ASSIGN(const auto blocks, tables(file, "modules"));
  for (const Node* node : blocks) {
    MLXMILL_ASSIGN(Block block, parse_block(*node, file_name));
    program.blocks.push_back(std::move(block));
  }
  if (!program.blocks.empty() && !(program.raw.empty() && program.keep_dtype.empty())) {
    return file.error(1,
                      "raw and keep_dtype are for files without [[modules]]; "
                      "say it at the module instead");
  }
  if (const Node* forward = file.find("forward")) {
    if (!forward->as_table()) return file.error(*forward, "forward must be written as [forward]");
    program.forward = *forward;
  }
  program.features = features_of(program, rules);
  MLXMILL_TRY(file.finish());
  return program;
}

}  // namespace mlxmill::architectures::detail
