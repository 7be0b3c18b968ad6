// What a cache may keep.
#pragma once

#include <algorithm>
#include <cstddef>
#include <span>

namespace mlxmill::generate {

/// How many of the tokens a cache has `seen` the text begins with, too: all but the text's last at
/// most, which is run in any case, for its logits.
template <typename T>
std::size_t reusable(std::span<const T> seen, std::span<const T> text) {
  const auto parted = std::mismatch(seen.begin(), seen.end(), text.begin(), text.end());
  const auto common = static_cast<std::size_t>(parted.first - seen.begin());
  return text.empty() ? common : std::min(common, text.size() - 1);
}

}  // namespace mlxmill::generate
