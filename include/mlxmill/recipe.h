// Recipes: files of rules that say how each module of a model is stored. docs/RECIPES.md is the
// language's reference; `ConvertOptions::recipe` takes one.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "mlxmill/result.h"

namespace mlxmill {

/// A recipe that comes with the library.
struct BuiltInRecipe {
  std::string name;  ///< "mixed_3_6"
  std::string description;
  std::string text;  ///< The file, to start one's own from.
};

/// In the order of their names.
std::vector<BuiltInRecipe> built_in_recipes();

/// Their names.
std::vector<std::string> recipe_names();

/// True when `recipe` is taken for the path of a file: an existing one, or it ends in ".toml".
bool is_recipe_file(std::string_view recipe);

/// Reads the text of a recipe, built in or a file, and checks all that can be without a model.
/// Errors: kUsage for an unknown name; kNotFound, kIo; kInvalidInput at `file:line`.
Result<std::string> read_recipe(const std::string& recipe);

}  // namespace mlxmill
