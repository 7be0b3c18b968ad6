// The recipe files compiled into the program.
#pragma once

#include <span>

#include "language/built_in.h"

namespace mlxmill::quantize {

/// In the order of their names.
std::span<const language::BuiltInFile> built_in_recipe_files();

}  // namespace mlxmill::quantize
