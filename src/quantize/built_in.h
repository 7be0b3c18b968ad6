// The recipe files compiled into the program.
#pragma once

#include <span>

#include "base/built_in.h"

namespace mlxmill::quantize {

/// In the order of their names.
std::span<const base::BuiltInFile> built_in_recipe_files();

}  // namespace mlxmill::quantize
