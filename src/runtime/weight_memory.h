// Memory that weights are read into.
#pragma once

#include <mlx/mlx.h>

#include <cstddef>
#include <cstdint>
#include <optional>

namespace mlxmill::runtime {

namespace mx = mlx::core;

/// Hands out arrays to be filled. On the CPU they are parts of large blocks: each begins with a
/// cache line, and the blocks lie in huge pages where the system has them, so that a core that
/// reads all weights for every token seldom waits for an address to be looked up. A block lives as
/// long as an array in it. Elsewhere each array has a buffer of its own.
class WeightMemory {
 public:
  /// What an array of so many bytes takes.
  static std::uint64_t room(std::uint64_t bytes);

  /// `total`: the sum of room() of all arrays to come.
  explicit WeightMemory(std::uint64_t total) : left_(total) {}

  /// An array whose elements are not set. Throws what libmlx's allocators throw.
  mx::array take(mx::Shape shape, mx::Dtype dtype);

 private:
  std::uint64_t left_;
  std::optional<mx::array> block_;  ///< Of bytes.
  std::size_t used_ = 0;            ///< Place in the block.
  std::size_t end_ = 0;
};

}  // namespace mlxmill::runtime
