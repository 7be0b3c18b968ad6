// Numbers times the scale of the block they lie in.
#include <algorithm>

#include "base/checked_math.h"
#include "kernels/arithmetic.h"
#include "streaming/computed.h"

namespace mlxmill::streaming {
namespace {

/// Sizes of numbers [batch, rows, columns] and scales [batch or 1, scale_rows, scale_columns].
struct Geometry {
  std::uint64_t rows;
  std::uint64_t columns;
  std::uint64_t scale_rows;
  std::uint64_t scale_columns;
  bool own_scales;  ///< Each slice of the batch has its own.

  Geometry(const base::Shape& numbers, const base::Shape& scales) {
    const std::size_t r = numbers.size();
    const std::size_t s = scales.size();
    columns = static_cast<std::uint64_t>(numbers[r - 1]);
    rows = r < 2 ? 1 : static_cast<std::uint64_t>(numbers[r - 2]);
    scale_columns = static_cast<std::uint64_t>(scales[s - 1]);
    scale_rows = s < 2 ? 1 : static_cast<std::uint64_t>(scales[s - 2]);
    own_scales = base::element_count(scales).value_or(0) > scale_rows * scale_columns;
  }
};

void scale_row(float* values, std::uint64_t column, std::uint64_t n, std::uint64_t block,
               const float* scales) {
  for (std::uint64_t i = 0; i < n;) {
    const std::uint64_t at = column + i;
    const std::uint64_t run = std::min(block - at % block, n - i);
    const float scale = scales[at / block];
    for (std::uint64_t k = i; k < i + run; ++k) values[k] *= scale;
    i += run;
  }
}

}  // namespace

Status evaluate(const tensors::ScaleBlocks& op, const Inputs& in, std::uint64_t begin,
                std::uint64_t n, void* out) {
  const Geometry g(in.computed.shape, in.view(1).shape);
  const auto block_rows = static_cast<std::uint64_t>(op.rows);
  const auto block_columns = static_cast<std::uint64_t>(op.columns);
  Scratch::Lease values = in.scratch.take(n * sizeof(float));
  MLXMILL_TRY(in.read_f32(0, begin, n, values.floats()));
  // Scale rows are read for many rows at a time: [first, last] within one slice of the batch.
  std::uint64_t first = 1;
  std::uint64_t last = 0;
  std::uint64_t loaded_batch = ~std::uint64_t{0};
  const std::uint64_t most = base::div_ceil(n, g.columns * block_rows) + 1;
  Scratch::Lease scales = in.scratch.take(most * g.scale_columns * sizeof(float));
  for (std::uint64_t i = 0; i < n;) {
    const std::uint64_t row = (begin + i) / g.columns;
    const std::uint64_t column = (begin + i) % g.columns;
    const std::uint64_t run = std::min(g.columns - column, n - i);
    const std::uint64_t batch = row / g.rows;
    const std::uint64_t scale_at = row % g.rows / block_rows;
    if (batch != loaded_batch || scale_at < first || scale_at > last) {
      first = scale_at;
      last = std::min(g.scale_rows, first + most) - 1;
      loaded_batch = batch;
      const std::uint64_t base_row = (g.own_scales ? batch * g.scale_rows : 0) + first;
      MLXMILL_TRY(in.read_f32(1, base_row * g.scale_columns, (last - first + 1) * g.scale_columns,
                              scales.floats()));
    }
    scale_row(values.floats() + i, column, run, block_columns,
              scales.floats() + (scale_at - first) * g.scale_columns);
    i += run;
  }
  kernels::from_f32(values.floats(), out, in.computed.dtype, n);
  return {};
}

}  // namespace mlxmill::streaming
