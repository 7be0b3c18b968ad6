// The declaration files compiled into the program; cmake/Embed.cmake makes the definition.
#pragma once

#include <span>
#include <string_view>

namespace mlxmill::architectures {

struct BuiltInFile {
  std::string_view name;  ///< "llama.toml"
  std::string_view text;
};

/// In the order of their names.
std::span<const BuiltInFile> built_in_files();

}  // namespace mlxmill::architectures
