// Arrays that are at hand, and views of them without a step of libmlx's graph. On the CPU a token
// is some hundred operations of microseconds each: there what can be computed is computed at once,
// and the graph serves what mlxmill has no kernel for.
#pragma once

#include <mlx/mlx.h>

#include <cstddef>
#include <cstdint>
#include <vector>

namespace mlxmill::runtime {

namespace mx = mlx::core;

/// Whether arrays are computed on the CPU.
bool on_cpu();

/// Whether x is computed and this thread may read it: on the CPU only.
bool at_hand(const mx::array& x);

/// x, on the CPU evaluated now; elsewhere it stays as it is.
mx::array settled(mx::array x);
void settle(std::vector<mx::array> arrays);

/// As mx::reshape, mx::swapaxes, and mx::slice of one axis; views of what is at hand.
mx::array reshaped(const mx::array& x, mx::Shape shape);
mx::array swapped(const mx::array& x, int a, int b);
mx::array section(const mx::array& x, int axis, int begin, int end);

/// Elements in memory of another array, which is at hand and of uint8. `begin`: their place in it,
/// a multiple of an element's size.
mx::array part_of(const mx::array& bytes, std::size_t begin, mx::Shape shape, mx::Dtype dtype);

/// `to` with its elements [begin, begin + part.shape(axis)) along `axis` replaced; in place where
/// both are at hand and nobody else holds `to`.
mx::array replaced(mx::array to, const mx::array& part, int axis, int begin);

/// Elements of x, which is at hand, in row-major order. `to` takes x.nbytes() bytes.
void copy_row_major(const mx::array& x, void* to);

}  // namespace mlxmill::runtime
