// The declaration files compiled into the program.
#pragma once

#include <span>

#include "base/built_in.h"

namespace mlxmill::architectures {

using base::BuiltInFile;

/// In the order of their names.
std::span<const BuiltInFile> built_in_files();

/// Rules that several families have, for `use`. In the order of their names.
std::span<const BuiltInFile> built_in_fragments();

}  // namespace mlxmill::architectures
