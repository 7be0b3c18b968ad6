// Shapes of tensors and how they are printed.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <vector>

namespace mlxmill::base {

/// Extents, outermost first; empty for a scalar.
using Shape = std::vector<std::int64_t>;

/// "[4096, 256]".
inline std::string to_string(std::span<const std::int64_t> shape) {
  std::string text = "[";
  for (std::size_t i = 0; i < shape.size(); ++i) {
    if (i) text += ", ";
    text += std::to_string(shape[i]);
  }
  return text + "]";
}

}  // namespace mlxmill::base
