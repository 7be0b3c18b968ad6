// Size arithmetic that cannot overflow silently. Sizes from files go through these.
#pragma once

#include <cstdint>
#include <limits>
#include <optional>
#include <span>

namespace mlxmill::base {

inline std::optional<std::uint64_t> checked_mul(std::uint64_t a, std::uint64_t b) {
  if (a != 0 && b > std::numeric_limits<std::uint64_t>::max() / a) return std::nullopt;
  return a * b;
}

inline std::optional<std::uint64_t> checked_add(std::uint64_t a, std::uint64_t b) {
  if (b > std::numeric_limits<std::uint64_t>::max() - a) return std::nullopt;
  return a + b;
}

/// Number of elements of a shape; 1 for rank 0. Empty on a negative extent or overflow past 2^62.
inline std::optional<std::uint64_t> element_count(std::span<const std::int64_t> shape) {
  std::uint64_t n = 1;
  for (std::int64_t extent : shape) {
    if (extent < 0) return std::nullopt;
    const auto product = checked_mul(n, static_cast<std::uint64_t>(extent));
    if (!product || *product > (std::uint64_t{1} << 62)) return std::nullopt;
    n = *product;
  }
  return n;
}

inline std::uint64_t div_ceil(std::uint64_t a, std::uint64_t b) { return a / b + (a % b != 0); }
inline std::uint64_t round_up(std::uint64_t a, std::uint64_t b) { return div_ceil(a, b) * b; }

}  // namespace mlxmill::base
