// A declaration file after parsing: everything checked that can be checked without a checkpoint.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "architectures/declaration.h"
#include "architectures/language.h"
#include "architectures/pattern.h"
#include "architectures/rule.h"

namespace mlxmill::architectures::detail {

/// An entry of [let] or [defaults].
struct Named {
  std::string name;
  Expression value;
};

/// A condition the config must meet.
struct Check {
  Expression that;
  std::string why;
};

/// An entry of [config] or [fill]: a key of config.json.
struct ConfigRule {
  std::vector<std::string> path;
  std::optional<Expression> value;  ///< empty: the key is removed, or becomes an empty object
  bool is_object = false;
  std::optional<Expression> when;
};

/// [stands_in]: when the family may serve a model_type that no file names.
struct StandIn {
  std::int64_t order = 0;
  std::optional<Expression> when;
};

/// A module path with loops: "model.layers.{i < num_hidden_layers}".
struct PathTemplate {
  struct Element {
    std::string text;  ///< a literal, or the variable of a gap
    bool gap = false;
    std::optional<Expression> bound;  ///< of a loop
  };
  std::vector<Element> elements;
};

/// One tensor of a module: its name below the module's path, its extents.
struct Parameter {
  std::string name;
  std::vector<Expression> extents;
};

struct ModuleSpec {
  PathTemplate path;
  ModuleKind kind = ModuleKind::kTensors;
  std::vector<Parameter> parameters;  ///< weight first
  std::optional<Parameter> bias;
  std::optional<Expression> has_bias;
  std::optional<Expression> count;  ///< How many weights the module stands for.
  std::optional<Expression> when;
  std::optional<QuantizeRule> rule;
  bool keeps_all = false;
  std::vector<std::string> keeps;
  std::uint32_t line = 0;
};

/// A [[modules]] table.
struct Block {
  std::optional<PathTemplate> at;
  std::optional<Expression> when;
  std::vector<ModuleSpec> modules;
};

struct Program {
  std::string file_name;
  std::string family;
  std::vector<std::string> model_types;
  std::vector<std::string> architecture_names;
  std::string scope;
  std::optional<Expression> layers;
  std::vector<std::string> required;
  std::string as_is;  ///< Why the weights are never quantized or turned back; empty: they may be.
  std::vector<std::pair<std::string, std::string>> ignored;
  std::vector<Check> checks;
  std::vector<Named> defaults;
  std::vector<Named> lets;
  std::vector<ConfigRule> fill;
  std::vector<ConfigRule> config;
  std::optional<StandIn> stands_in;
  std::vector<std::unique_ptr<Rule>> rules;
  std::vector<std::string> features;
  std::vector<Block> blocks;  ///< empty: an open family, any tensor passes
  std::vector<Pattern> raw;   ///< open family: modules never quantized
  std::vector<Pattern> keep_dtype;
  std::optional<Node> forward;  ///< [forward] as written (forward/)
};

/// Reads the whole file. Errors: kInvalidInput at `file:line`.
Result<Program> parse_program(std::string_view text, std::string_view file_name);

/// Reads the [[rules]] tables; `use` puts those of a built-in fragment in its place
/// (parse_rules.cc). Errors: kInvalidInput at `file:line`.
Result<std::vector<std::unique_ptr<Rule>>> parse_rules(const std::vector<const Node*>& tables,
                                                       std::string_view file_name);

/// The tables of an array of tables; empty when the key is absent. They live as long as the file.
Result<std::vector<const Node*>> tables(TableReader& file, std::string_view key);

/// Reads [config] or [fill], and [stands_in] (parse_config.cc). Errors: kInvalidInput at
/// `file:line`.
Result<std::vector<ConfigRule>> parse_config(TableReader& file, std::string_view table);
Result<std::optional<StandIn>> parse_stand_in(TableReader& file);

/// What Declaration::features() says (features.cc). `rules` are the [[rules]] tables.
std::vector<std::string> features_of(const Program& program, const std::vector<const Node*>& rules);

/// Reads one [[modules]] table.
Result<Block> parse_block(const Node& node, std::string_view file_name);

/// An expression from a string, a number or a boolean of the file.
Result<Expression> parse_expression(const Node& node, std::string_view file_name);

/// A list of patterns from a string or an array of strings.
Result<std::vector<Pattern>> parse_patterns(TableReader& table, std::string_view key);

}  // namespace mlxmill::architectures::detail
