// A recipe file: ordered rules that say how the modules of any model are stored. docs/RECIPES.md is
// the language's reference.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "language/expression.h"
#include "mlxmill/dtype.h"
#include "mlxmill/result.h"
#include "mlxmill/scheme.h"
#include "quantize/path_pattern.h"

namespace mlxmill::quantize {

/// One [[rules]] table. Exactly one of three: settings (any of mode, bits, group size), kept
/// (perhaps in another dtype), or as the run and the family say.
struct RecipeRule {
  std::vector<PathPattern> patterns;  ///< A module matches when one of them does.
  std::optional<language::Expression> when;
  std::optional<Mode> mode;
  std::optional<int> bits;
  std::optional<int> group_size;
  bool keep = false;
  std::optional<DType> dtype;
  bool as_run = false;
  bool optional = false;         ///< It may match nothing.
  bool override_family = false;  ///< It quantizes what the family forbids.
  std::uint32_t line = 0;

  bool has_settings() const { return mode || bits || group_size; }
  /// "**.gate, **.router when kind == 'linear'".
  std::string match_text() const;
  /// "affine 8-bit", "kept as float32": what it says, before a run fills in the rest.
  std::string settings_text() const;
};

/// A parsed file. Nothing in it depends on a model.
struct RecipeFile {
  std::string file_name;  ///< In messages.
  std::string name;       ///< Its `name`, or the file's name without folder and ".toml".
  std::string description;
  /// The first module that matches tells which part of a path is the layer number.
  std::optional<PathPattern> layer_of;
  std::vector<RecipeRule> rules;

  /// Errors: kInvalidInput at `file:line` for bad TOML, unknown keys, bad patterns, expressions or
  /// settings, and for a file without rules.
  static Result<RecipeFile> parse(std::string_view text, std::string_view file_name);

  /// "my.toml:12", "routers_8:12": the file's name without its folder, and a rule's line.
  std::string where(const RecipeRule& rule) const;
};

/// The names a rule's `when` may use; docs/RECIPES.md explains them.
std::span<const std::string_view> condition_names();

/// Names of the built-in recipes, in alphabetical order.
std::vector<std::string> recipe_names();

/// The text of a built-in recipe. Errors: kUsage with the nearest name.
Result<std::string_view> built_in_recipe(std::string_view name);

}  // namespace mlxmill::quantize
