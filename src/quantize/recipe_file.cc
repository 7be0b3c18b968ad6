#include "quantize/recipe_file.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>

#include "language/document.h"
#include "quantize/built_in.h"

namespace mlxmill::quantize {
namespace {

using language::Expression;
using language::Node;
using language::quoted;
using language::TableReader;

constexpr std::size_t kMaxRules = 256;
constexpr std::size_t kMaxPatterns = 64;

constexpr std::array<std::string_view, 6> kConditionNames = {"path",   "kind", "layer",
                                                             "layers", "rows", "columns"};

std::string_view without_folder(std::string_view file_name) {
  const std::size_t slash = file_name.rfind('/');
  return slash == std::string_view::npos ? file_name : file_name.substr(slash + 1);
}

/// "mixed_3_6" of "some/folder/mixed_3_6.toml".
std::string stem(std::string_view file_name) {
  file_name = without_folder(file_name);
  if (file_name.size() > 5 && file_name.ends_with(".toml")) file_name.remove_suffix(5);
  return std::string(file_name);
}

class RuleParser {
 public:
  RuleParser(const Node& node, std::string_view file_name) : table_(node, file_name), node_(node) {}

  Result<RecipeRule> parse() {
    rule_.line = node_.line;
    MLXMILL_TRY(patterns());
    MLXMILL_TRY(condition());
    MLXMILL_TRY(settings());
    MLXMILL_TRY(flag("keep", rule_.keep));
    MLXMILL_TRY(flag("as_run", rule_.as_run));
    MLXMILL_TRY(flag("optional", rule_.optional));
    MLXMILL_TRY(flag("override_family", rule_.override_family));
    MLXMILL_TRY(table_.finish());
    MLXMILL_TRY(check());
    return std::move(rule_);
  }

 private:
  Status patterns() {
    for (const bool regex : {false, true}) {
      const std::string_view key = regex ? "regex" : "match";
      MLXMILL_ASSIGN(const std::vector<std::string> texts, table_.strings(key));
      for (const std::string& text : texts) {
        Result<PathPattern> pattern = regex ? PathPattern::regex(text) : PathPattern::glob(text);
        if (!pattern) {
          return table_.error(*table_.find(key),
                              fmt::format("{} {}: {}", key, quoted(text), pattern.error().what()));
        }
        rule_.patterns.push_back(*std::move(pattern));
      }
    }
    if (rule_.patterns.empty()) {
      return table_.error(node_, "the rule has no match and no regex; expected one of them");
    }
    if (table_.find("match") && table_.find("regex")) {
      return table_.error(node_, "the rule has match and regex; expected one of them");
    }
    if (rule_.patterns.size() > kMaxPatterns) {
      return table_.error(node_, fmt::format("the rule has {} patterns; expected at most {}",
                                             rule_.patterns.size(), kMaxPatterns));
    }
    return {};
  }

  Status condition() {
    MLXMILL_ASSIGN(const std::optional<std::string> text, table_.string("when"));
    if (!text) return {};
    const std::uint32_t line = table_.find("when")->line;
    MLXMILL_ASSIGN(rule_.when, Expression::parse(*text, table_.file_name(), line));
    const std::vector<std::string> known(kConditionNames.begin(), kConditionNames.end());
    for (const std::string& name : rule_.when->names()) {
      if (std::find(known.begin(), known.end(), name) != known.end()) continue;
      Error error = table_.error(
          line, fmt::format("when knows no {}; expected {}", quoted(name), fmt::join(known, ", ")));
      if (const auto near = language::nearest(name, known)) {
        error.hint(fmt::format("did you mean \"{}\"?", *near));
      }
      return error;
    }
    return {};
  }

  Status settings() {
    MLXMILL_ASSIGN(const std::optional<std::string> mode, table_.string("mode"));
    if (mode) {
      rule_.mode = mode_from_name(*mode);
      if (!rule_.mode) {
        return table_.error(
            *table_.find("mode"),
            fmt::format("mode is {}; expected affine, mxfp4, nvfp4 or mxfp8", quoted(*mode)));
      }
    }
    MLXMILL_TRY(number("bits", rule_.bits));
    MLXMILL_TRY(number("group_size", rule_.group_size));
    if (rule_.mode) {
      const Result<Scheme> legal = make_scheme(*rule_.mode, rule_.bits, rule_.group_size);
      if (!legal) return table_.error(node_, legal.error().what());
    }
    MLXMILL_ASSIGN(const std::optional<std::string> dtype, table_.string("dtype"));
    if (!dtype) return {};
    rule_.dtype = dtype_from_torch_name(*dtype);
    if (!rule_.dtype || !is_mlx_float(*rule_.dtype)) {
      return table_.error(
          *table_.find("dtype"),
          fmt::format("dtype is {}; expected float16, bfloat16 or float32", quoted(*dtype)));
    }
    return {};
  }

  Status number(std::string_view key, std::optional<int>& value) {
    const Node* node = table_.find(key);
    if (!node) return {};
    constexpr std::int64_t kMost = 1024;
    const std::int64_t* integer = node->as_int();
    if (!integer) {
      return table_.error(*node,
                          fmt::format("{} is {}; expected an integer", key, node->type_name()));
    }
    if (*integer < 1 || *integer > kMost) {
      return table_.error(*node, fmt::format("{} is {}; libmlx has no such", key, *integer));
    }
    value = static_cast<int>(*integer);
    return {};
  }

  Status flag(std::string_view key, bool& value) {
    const Node* node = table_.find(key);
    if (!node) return {};
    if (!node->as_bool()) {
      return table_.error(*node,
                          fmt::format("{} is {}; expected true or false", key, node->type_name()));
    }
    value = *node->as_bool();
    return {};
  }

  Status check() const {
    const bool keeps = rule_.keep || rule_.dtype;
    if (rule_.has_settings() && rule_.dtype) {
      return table_.error(node_,
                          "the rule has a dtype, which keeps modules unquantized, and bits, mode "
                          "or group_size; expected one of the two");
    }
    const int n = int{keeps} + int{rule_.has_settings()} + int{rule_.as_run};
    if (n == 1) return {};
    return table_.error(
        node_, n == 0 ? "the rule says nothing; expected mode, bits, group_size, keep = true, "
                        "dtype or as_run = true"
                      : "the rule says two things; expected settings, keep or as_run");
  }

  TableReader table_;
  const Node& node_;
  RecipeRule rule_;
};

}  // namespace

std::string RecipeRule::match_text() const {
  std::string text;
  for (const PathPattern& pattern : patterns) {
    text += (text.empty() ? "" : ", ") + pattern.text();
  }
  if (!when) return text;
  std::string condition = when->text();
  std::replace(condition.begin(), condition.end(), '\n', ' ');
  return text + " when " + condition;
}

std::string RecipeRule::settings_text() const {
  if (dtype) return fmt::format("kept as {}", torch_dtype_name(*dtype));
  if (keep) return "kept";
  if (as_run) return "as the run";
  std::string text(mode ? mode_name(*mode) : "");
  if (bits) text += fmt::format("{}{}-bit", text.empty() ? "" : " ", *bits);
  if (group_size) text += fmt::format("{}groups of {}", text.empty() ? "" : ", ", *group_size);
  return text;
}

Result<RecipeFile> RecipeFile::parse(std::string_view text, std::string_view file_name) {
  RecipeFile file;
  file.file_name = file_name;
  file.name = stem(file_name);
  MLXMILL_ASSIGN(const Node document, language::parse_document(text, file_name));
  TableReader table(document, file_name);
  MLXMILL_ASSIGN(const std::optional<std::string> description, table.string("description"));
  file.description = description.value_or("");
  MLXMILL_ASSIGN(const std::optional<std::string> layer_of, table.string("layer_of"));
  if (layer_of) {
    Result<PathPattern> pattern = PathPattern::glob(*layer_of);
    if (!pattern) {
      return table.error(*table.find("layer_of"),
                         fmt::format("layer_of {}: {}", quoted(*layer_of), pattern.error().what()));
    }
    file.layer_of = *std::move(pattern);
  }
  MLXMILL_ASSIGN(const std::optional<std::string> name, table.string("name"));
  if (name) file.name = *name;
  const Node* rules = table.find("rules");
  MLXMILL_TRY(table.finish());
  if (!rules || !rules->as_array() || rules->as_array()->empty()) {
    return table.error(rules ? rules->line : 1, "a recipe needs [[rules]]");
  }
  if (rules->as_array()->size() > kMaxRules) {
    return table.error(
        *rules, fmt::format("{} rules; expected at most {}", rules->as_array()->size(), kMaxRules));
  }
  for (const Node& node : *rules->as_array()) {
    if (!node.as_table()) return table.error(node, "a rule is a table: [[rules]]");
    MLXMILL_ASSIGN(RecipeRule rule, RuleParser(node, file_name).parse());
    file.rules.push_back(std::move(rule));
  }
  return file;
}

std::string RecipeFile::where(const RecipeRule& rule) const {
  return fmt::format("{}:{}", without_folder(file_name), rule.line);
}

std::span<const std::string_view> condition_names() { return kConditionNames; }

std::vector<std::string> recipe_names() {
  std::vector<std::string> names;
  for (const base::BuiltInFile& file : built_in_recipe_files()) names.push_back(stem(file.name));
  return names;
}

Result<std::string_view> built_in_recipe(std::string_view name) {
  for (const base::BuiltInFile& file : built_in_recipe_files()) {
    if (stem(file.name) == name) return file.text;
  }
  const std::vector<std::string> names = recipe_names();
  Error error(Code::kUsage, fmt::format("unknown recipe {}; expected {} or a file", quoted(name),
                                        fmt::join(names, ", ")));
  if (const auto near = language::nearest(name, names)) {
    error.hint(fmt::format("did you mean {}?", *near));
  }
  return error;
}

}  // namespace mlxmill::quantize
