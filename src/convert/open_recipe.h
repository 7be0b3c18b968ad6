// From what a caller names as recipe to its rules.
#pragma once

#include <optional>
#include <string>

#include "mlxmill/result.h"
#include "quantize/recipe_file.h"

namespace mlxmill::convert {

/// Empty for "". Errors: those of mlxmill::read_recipe.
Result<std::optional<quantize::RecipeFile>> open_recipe(const std::string& recipe);

}  // namespace mlxmill::convert
