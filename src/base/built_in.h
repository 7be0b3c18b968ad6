// A file compiled into the program; cmake/Embed.cmake makes the tables of them.
#pragma once

#include <string_view>

namespace mlxmill::base {

struct BuiltInFile {
  std::string_view name;  ///< "llama.toml"
  std::string_view text;
};

}  // namespace mlxmill::base
