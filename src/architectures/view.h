// What rules do to tensors: every operation keeps the elements where they are and moves only the
// window.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "architectures/declaration.h"
#include "architectures/tensor_view.h"
#include "mlxmill/result.h"

namespace mlxmill::architectures {

/// The whole of a source tensor. Errors: kInvalidInput for a shape that overflows or has more than
/// 8 axes.
Result<TensorView> view_of(const SourceTensor& tensor, std::size_t index);

/// Extents [begin, end) of an axis in steps. Requires 0 <= begin <= end <= extent and step > 0.
TensorView slice(const TensorView& view, std::size_t axis, std::int64_t begin, std::int64_t end,
                 std::int64_t step = 1);

/// Axis k of the result is axis axes[k]. Errors: kUnsupported when the outermost axis of a tensor
/// of several pieces would move.
Result<TensorView> transpose(const TensorView& view, std::span<const std::size_t> axes);

/// The same elements in row-major order under another shape. Errors: kInvalidInput when the counts
/// differ; kUnsupported when no list of strided pieces has that shape.
Result<TensorView> reshape(const TensorView& view, const base::Shape& shape);

/// Tensors of one shape and dtype as slices of a new outermost axis. Requires one tensor at least.
/// Errors: kInvalidInput for shapes or dtypes that differ; kUnsupported when a slice has several
/// pieces.
Result<TensorView> stack(std::span<const TensorView> views);

}  // namespace mlxmill::architectures
