// What the steps of view.h do to the codes, scales and biases of a packed view.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <span>

#include "mlxmill/result.h"
#include "tensors/tensor_view.h"

namespace mlxmill::tensors {

/// One part of a packed view after a step; empty when it cannot follow.
using Step = std::function<std::optional<TensorView>(const TensorView& part)>;
using Join = std::function<Result<TensorView>(std::span<const TensorView> parts)>;

std::optional<TensorView> as_optional(Result<TensorView> result);

/// The same step done to codes, scales and biases; null when one of them cannot follow, and only
/// the decoded weights remain.
std::shared_ptr<const Packed> follow(const std::shared_ptr<const Packed>& packed, const Step& step);

/// The factor of each slice of the first axis [n], when `factor` [n, rows, 1] is seen to be the
/// same for all rows of a slice.
std::optional<TensorView> factor_of_slices(const TensorView& factor);

/// Columns [begin, end) of codes, scales and biases; null where an end falls into a group.
std::shared_ptr<const Packed> follow_columns(const std::shared_ptr<const Packed>& packed,
                                             std::int64_t begin, std::int64_t end);

/// Joins the codes, scales and biases of several views; null unless all are packed in one way.
std::shared_ptr<const Packed> join_packed(std::span<const TensorView> views, const Join& join);

}  // namespace mlxmill::tensors
