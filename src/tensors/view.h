// What can be done to tensors without reading them: windows are moved, and where no window will do,
// the tensor becomes a computed one.
//
// A packed view stays packed as long as its codes, scales and biases can follow; else it goes on as
// its decoded weights.
#pragma once

#include <cstdint>
#include <span>
#include <string>

#include "mlxmill/result.h"
#include "tensors/operation.h"
#include "tensors/tensor_view.h"

namespace mlxmill::tensors {

/// The whole of a source tensor. Errors: kInvalidInput for a shape that overflows or has more than
/// 8 axes.
Result<TensorView> view_of(const SourceTensor& tensor, std::size_t index);

/// Weights that the source holds as MLX codes. `dtype` is that of the decoded weights.
TensorView packed_view(std::string name, Packed packed, DType dtype);

/// The view without its codes: only the decoded weights remain.
TensorView decoded(const TensorView& view);

/// The same tensor in one piece.
TensorView gathered(const TensorView& view);

/// Extents [begin, end) of an axis in steps. Requires 0 <= begin <= end <= extent and step > 0.
TensorView slice(const TensorView& view, std::size_t axis, std::int64_t begin, std::int64_t end,
                 std::int64_t step = 1);

/// Axis k of the result is axis axes[k]. Errors: kInvalidInput for another number of axes.
Result<TensorView> transpose(const TensorView& view, std::span<const std::size_t> axes);

/// The same elements in row-major order under another shape. Errors: kInvalidInput when the counts
/// differ.
Result<TensorView> reshape(const TensorView& view, const base::Shape& shape);

/// Tensors of one shape and dtype as slices of a new outermost axis. Requires one tensor at least.
/// Errors: kInvalidInput for shapes or dtypes that differ.
Result<TensorView> stack(std::span<const TensorView> views);

/// Tensors one after the other along an axis they have. Errors: kInvalidInput for dtypes or other
/// extents that differ.
Result<TensorView> concatenate(std::span<const TensorView> views, std::size_t axis);

/// Every slice of an axis `times` times in a row. Requires the axis to exist and times > 0.
Result<TensorView> repeat(const TensorView& view, std::size_t axis, std::int64_t times);

/// The same bytes as another type; the last axis changes where the widths differ. Errors:
/// kInvalidInput when it is no whole number of elements.
Result<TensorView> bit_cast(const TensorView& view, DType dtype);

}  // namespace mlxmill::tensors
