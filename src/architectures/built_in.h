// The declaration files compiled into the program.
#pragma once

#include <span>

#include "base/built_in.h"

namespace mlxmill::architectures {

using base::BuiltInFile;

/// In the order of their names.
std::span<const BuiltInFile> built_in_files();

}  // namespace mlxmill::architectures
