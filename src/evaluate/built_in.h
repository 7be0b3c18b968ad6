// The texts that come with the library: src/evaluate/texts/, one file per domain.
#pragma once

#include <span>

#include "base/built_in.h"

namespace mlxmill::evaluate {

/// In the order of their names.
std::span<const base::BuiltInFile> built_in_text_files();

}  // namespace mlxmill::evaluate
