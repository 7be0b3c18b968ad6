#include "architectures/view.h"

#include <fmt/format.h>

#include <optional>

#include "architectures/language.h"
#include "base/checked_math.h"

namespace mlxmill::architectures {
namespace {

constexpr std::size_t kMaxRank = 8;
/// How many pieces one tensor may be taken apart into.
constexpr std::int64_t kMaxPieces = 1 << 16;

Error unsupported(const TensorView& view, std::string_view what) {
  return Error(Code::kUnsupported, std::string(what))
      .at(fmt::format("tensor {}", quoted(view.name)));
}

std::uint64_t count(const base::Shape& shape) { return base::element_count(shape).value_or(0); }

/// Strides of `shape` over the elements of `piece`, when one strided window can have that shape:
/// runs of axes are merged and cut anew wherever they are evenly spaced in memory.
std::optional<std::vector<std::int64_t>> strides_for(const Piece& piece, const base::Shape& shape) {
  std::vector<std::int64_t> strides(shape.size(), 0);
  base::Shape extents;
  std::vector<std::int64_t> steps;
  for (std::size_t i = 0; i < piece.shape.size(); ++i) {
    if (piece.shape[i] == 1) continue;
    extents.push_back(piece.shape[i]);
    steps.push_back(piece.strides[i]);
  }
  std::size_t from = 0;
  std::size_t to = 0;
  while (to < shape.size()) {
    if (shape[to] == 1) {
      ++to;
      continue;
    }
    // The smallest runs of old and new axes with the same number of elements.
    std::size_t from_end = from + 1;
    std::size_t to_end = to + 1;
    std::int64_t old_count = extents[from];
    std::int64_t new_count = shape[to];
    while (old_count != new_count) {
      if (old_count < new_count) {
        old_count *= extents[from_end++];
      } else {
        new_count *= shape[to_end++];
      }
    }
    for (std::size_t i = from; i + 1 < from_end; ++i) {
      if (steps[i] != steps[i + 1] * extents[i + 1]) return std::nullopt;
    }
    std::int64_t step = steps[from_end - 1];
    for (std::size_t i = to_end; i-- > to;) {
      strides[i] = step;
      step *= shape[i];
    }
    from = from_end;
    to = to_end;
  }
  return strides;
}

/// Appends the piece under [rows, inner...]; false when it is no single window.
bool append_reshaped(const Piece& piece, const base::Shape& shape, std::uint64_t inner,
                     std::vector<Piece>& pieces) {
  const std::uint64_t n_elements = count(piece.shape);
  if (n_elements % inner != 0) return false;
  Piece result = piece;
  result.shape = shape;
  result.shape[0] = static_cast<std::int64_t>(n_elements / inner);
  const auto strides = strides_for(piece, result.shape);
  if (!strides) return false;
  result.strides = *strides;
  pieces.push_back(std::move(result));
  return true;
}

}  // namespace

Result<TensorView> view_of(const SourceTensor& tensor, std::size_t index) {
  const auto n_elements = base::element_count(tensor.shape);
  if (!n_elements || tensor.shape.size() > kMaxRank) {
    return Error(Code::kInvalidInput,
                 fmt::format("the shape {} is no tensor's; expected at most {} axes",
                             base::to_string(tensor.shape), kMaxRank))
        .at(fmt::format("tensor {}", quoted(tensor.name)));
  }
  Piece piece{index, 0, tensor.shape, std::vector<std::int64_t>(tensor.shape.size())};
  std::int64_t step = 1;
  for (std::size_t i = tensor.shape.size(); i-- > 0;) {
    piece.strides[i] = step;
    // An empty tensor may have extents whose product would overflow; its strides are never used.
    step = *n_elements == 0 ? 0 : step * tensor.shape[i];
  }
  return TensorView{tensor.name, tensor.dtype, tensor.shape, {std::move(piece)}};
}

TensorView slice(const TensorView& view, std::size_t axis, std::int64_t begin, std::int64_t end,
                 std::int64_t step) {
  TensorView result{view.name, view.dtype, view.shape, {}};
  result.shape[axis] = (end - begin + step - 1) / step;
  std::int64_t row = 0;  // of the piece, along the outermost axis
  for (const Piece& piece : view.pieces) {
    std::int64_t first = begin;
    std::int64_t last = end;
    if (axis == 0) {
      const std::int64_t rows = piece.shape[0];
      // The first wanted row at or after the piece's own, counted within the piece.
      first = begin >= row ? begin - row : (step - (row - begin) % step) % step;
      last = std::min(end - row, rows);
      row += rows;
      if (first >= last) continue;
    }
    Piece part = piece;
    part.offset += first * piece.strides[axis];
    part.shape[axis] = (last - first + step - 1) / step;
    part.strides[axis] *= step;
    result.pieces.push_back(std::move(part));
  }
  return result;
}

Result<TensorView> transpose(const TensorView& view, std::span<const std::size_t> axes) {
  if (axes.size() != view.shape.size()) {
    return unsupported(
        view, fmt::format("its shape {} has {} axes; expected {}", base::to_string(view.shape),
                          view.shape.size(), axes.size()));
  }
  if (view.pieces.size() > 1 && axes[0] != 0) {
    return unsupported(view, fmt::format("it has {} pieces along its first axis, which cannot move",
                                         view.pieces.size()));
  }
  TensorView result = view;
  for (std::size_t k = 0; k < axes.size(); ++k) result.shape[k] = view.shape[axes[k]];
  for (std::size_t p = 0; p < view.pieces.size(); ++p) {
    for (std::size_t k = 0; k < axes.size(); ++k) {
      result.pieces[p].shape[k] = view.pieces[p].shape[axes[k]];
      result.pieces[p].strides[k] = view.pieces[p].strides[axes[k]];
    }
  }
  return result;
}

Result<TensorView> reshape(const TensorView& view, const base::Shape& shape) {
  const auto n_elements = base::element_count(shape);
  if (!n_elements || *n_elements != count(view.shape) || shape.size() > kMaxRank) {
    return Error(Code::kInvalidInput,
                 fmt::format("its shape {} does not hold as many elements as {}",
                             base::to_string(view.shape), base::to_string(shape)))
        .at(fmt::format("tensor {}", quoted(view.name)));
  }
  TensorView result{view.name, view.dtype, shape, {}};
  if (*n_elements == 0) {
    result.pieces.push_back({view.pieces.empty() ? 0 : view.pieces[0].source, 0, shape,
                             std::vector<std::int64_t>(shape.size(), 0)});
    return result;
  }
  const bool one_window = view.pieces.size() == 1;
  if (one_window) {
    if (const auto strides = strides_for(view.pieces[0], shape)) {
      result.pieces.push_back({view.pieces[0].source, view.pieces[0].offset, shape, *strides});
      return result;
    }
  }
  const Error impossible =
      unsupported(view, fmt::format("its elements do not lie so that {} can be read as {}",
                                    base::to_string(view.shape), base::to_string(shape)));
  if (shape.empty()) return impossible;
  const std::uint64_t inner = *n_elements / static_cast<std::uint64_t>(shape[0]);
  for (const Piece& piece : view.pieces) {
    if (append_reshaped(piece, shape, inner, result.pieces)) continue;
    // Row by row it may still fit: [g, h, n] cut out of a larger [G, h, n] read as [g * h, n].
    if (piece.shape.empty() || piece.shape[0] > kMaxPieces) return impossible;
    for (std::int64_t row = 0; row < piece.shape[0]; ++row) {
      Piece part = piece;
      part.offset += row * piece.strides[0];
      part.shape[0] = 1;
      if (!append_reshaped(part, shape, inner, result.pieces)) return impossible;
    }
  }
  return result;
}

Result<TensorView> stack(std::span<const TensorView> views) {
  const TensorView& first = views[0];
  TensorView result{first.name, first.dtype, first.shape, {}};
  result.shape.insert(result.shape.begin(), static_cast<std::int64_t>(views.size()));
  for (const TensorView& view : views) {
    if (view.shape != first.shape || view.dtype != first.dtype) {
      return Error(Code::kInvalidInput,
                   fmt::format("it is {} {}; expected {} {} as in {}", dtype_name(view.dtype),
                               base::to_string(view.shape), dtype_name(first.dtype),
                               base::to_string(first.shape), quoted(first.name)))
          .at(fmt::format("tensor {}", quoted(view.name)));
    }
    if (view.pieces.size() != 1) {
      return unsupported(view,
                         fmt::format("it has {} pieces and cannot be stacked", view.pieces.size()));
    }
    Piece piece = view.pieces[0];
    piece.shape.insert(piece.shape.begin(), 1);
    piece.strides.insert(piece.strides.begin(), 0);
    result.pieces.push_back(std::move(piece));
  }
  return result;
}

}  // namespace mlxmill::architectures
