// Text taken apart.
#pragma once

#include <string_view>
#include <vector>

namespace mlxmill::base {

/// What lies between the dots; at least one part, which may be empty.
inline std::vector<std::string_view> split_at_dots(std::string_view text) {
  std::vector<std::string_view> parts;
  while (true) {
    const std::size_t dot = text.find('.');
    parts.push_back(text.substr(0, dot));
    if (dot == std::string_view::npos) return parts;
    text.remove_prefix(dot + 1);
  }
}

}  // namespace mlxmill::base
