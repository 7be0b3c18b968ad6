// Declarations and recipes compiled into the program.
#pragma once

#include "base/built_in.h"

namespace mlxmill::language {

using base::BuiltInFile;

}  // namespace mlxmill::language
