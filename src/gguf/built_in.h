// The declarations of GGUF architectures compiled into the program (families/*.toml);
// cmake/Embed.cmake makes the definition.
#pragma once

#include <span>

#include "architectures/built_in.h"

namespace mlxmill::gguf {

using architectures::BuiltInFile;

/// In the order of their names. common.toml holds what most of them share.
std::span<const BuiltInFile> built_in_files();

}  // namespace mlxmill::gguf
