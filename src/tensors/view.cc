#include "tensors/view.h"

#include <fmt/format.h>

#include <algorithm>
#include <optional>

#include "base/checked_math.h"
#include "base/quoted.h"
#include "tensors/operation.h"
#include "tensors/packed.h"

namespace mlxmill::tensors {
namespace {

constexpr std::size_t kMaxRank = 8;
/// How many pieces one piece may be taken apart into.
constexpr std::int64_t kMaxPieces = 1 << 16;

Error invalid(const TensorView& view, std::string what) {
  return Error(Code::kInvalidInput, std::move(what))
      .at(fmt::format("tensor {}", base::quoted(view.name)));
}

std::uint64_t count(const base::Shape& shape) { return base::element_count(shape).value_or(0); }

/// Strides of `shape` over the elements of `piece`, when one strided window can have that shape:
/// runs of axes are merged and cut anew wherever they are evenly spaced in memory.
std::optional<base::Shape> strides_for(const Piece& piece, const base::Shape& shape) {
  base::Shape strides(shape.size(), 0);
  base::Shape extents;
  base::Shape steps;
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

base::Shape row_major_strides(const base::Shape& shape) {
  base::Shape strides(shape.size());
  const bool empty = count(shape) == 0;
  std::int64_t step = 1;
  for (std::size_t i = shape.size(); i-- > 0;) {
    strides[i] = step;
    // An empty tensor may have extents whose product would overflow; its strides are never used.
    step = empty ? 0 : step * shape[i];
  }
  return strides;
}

/// All of a view, in row-major order under another shape, as one piece of a computed tensor.
Piece whole(const TensorView& view, const base::Shape& shape) {
  TensorView plain = view;
  plain.packed = nullptr;
  return Piece{0, 0, shape, row_major_strides(shape),
               std::make_shared<const Computed>(
                   Computed{Gathered{}, view.dtype, view.shape, {std::move(plain)}})};
}

/// A view under another shape, piece by piece or row by row: [g, h, n] cut out of a larger [G, h,
/// n] read as [g * h, n]. False when its elements do not lie so.
bool cut_to_rows(const TensorView& view, const base::Shape& shape, SharedList<Piece>& pieces) {
  const std::uint64_t inner = count(shape) / static_cast<std::uint64_t>(shape[0]);
  std::vector<Piece> result;
  for (const Piece& piece : view.pieces) {
    if (append_reshaped(piece, shape, inner, result)) continue;
    if (piece.shape.empty() || piece.shape[0] > kMaxPieces) return false;
    for (std::int64_t row = 0; row < piece.shape[0]; ++row) {
      Piece part = piece;
      part.offset += row * piece.strides[0];
      part.shape[0] = 1;
      if (!append_reshaped(part, shape, inner, result)) return false;
    }
  }
  pieces = std::move(result);
  return true;
}

}  // namespace

Result<TensorView> view_of(const SourceTensor& tensor, std::size_t index) {
  const auto n_elements = base::element_count(tensor.shape);
  if (!n_elements || tensor.shape.size() > kMaxRank) {
    return Error(Code::kInvalidInput,
                 fmt::format("the shape {} is no tensor's; expected at most {} axes",
                             base::to_string(tensor.shape), kMaxRank))
        .at(fmt::format("tensor {}", base::quoted(tensor.name)));
  }
  Piece piece{index, 0, tensor.shape, row_major_strides(tensor.shape)};
  return TensorView{tensor.name, tensor.dtype, tensor.shape, {std::move(piece)}};
}

TensorView view_of(std::string name, Computed computed) {
  const DType dtype = computed.dtype;
  const base::Shape shape = computed.shape;
  Piece piece{0, 0, shape, row_major_strides(shape),
              std::make_shared<const Computed>(std::move(computed))};
  return TensorView{std::move(name), dtype, shape, {std::move(piece)}};
}

TensorView gathered(const TensorView& view) {
  TensorView result = view_of(view.name, Computed{Gathered{}, view.dtype, view.shape, {view}});
  result.packed = view.packed;
  return result;
}

TensorView decoded(const TensorView& view) {
  TensorView result = view;
  result.packed = nullptr;
  return result;
}

TensorView packed_view(std::string name, Packed packed, DType dtype) {
  base::Shape shape = packed.scales().shape;
  shape.back() *= packed.scheme().group_size;
  const DecodePacked decode{packed.scheme(), packed.factor() != nullptr};
  TensorView result =
      view_of(std::move(name), Computed{decode, dtype, std::move(shape), packed.parts()});
  result.packed = std::make_shared<const Packed>(std::move(packed));
  return result;
}

TensorView slice(const TensorView& view, std::size_t axis, std::int64_t begin, std::int64_t end,
                 std::int64_t step) {
  TensorView result{view.name, view.dtype, view.shape, {}};
  result.coded_as = view.coded_as;
  result.shape[axis] = (end - begin + step - 1) / step;
  if (axis + 1 < view.shape.size()) {
    result.packed = follow(view.packed, [&](const TensorView& part) {
      return std::optional<TensorView>(slice(part, axis, begin, end, step));
    });
  } else if (step == 1) {
    result.packed = follow_columns(view.packed, begin, end);
  }
  std::vector<Piece> parts;
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
    parts.push_back(std::move(part));
  }
  result.pieces = std::move(parts);
  return result;
}

Result<TensorView> transpose(const TensorView& view, std::span<const std::size_t> axes) {
  if (axes.size() != view.shape.size()) {
    return invalid(view, fmt::format("its shape {} has {} axes; expected {}",
                                     base::to_string(view.shape), view.shape.size(), axes.size()));
  }
  if (view.pieces.size() > 1 && axes[0] != 0) return transpose(gathered(view), axes);
  TensorView result = view;
  for (std::size_t k = 0; k < axes.size(); ++k) result.shape[k] = view.shape[axes[k]];
  const std::span<Piece> pieces = result.pieces.edit();
  for (std::size_t p = 0; p < pieces.size(); ++p) {
    for (std::size_t k = 0; k < axes.size(); ++k) {
      pieces[p].shape[k] = view.pieces[p].shape[axes[k]];
      pieces[p].strides[k] = view.pieces[p].strides[axes[k]];
    }
  }
  result.packed = nullptr;
  if (!axes.empty() && axes.back() + 1 == axes.size()) {
    result.packed = follow(
        view.packed, [&](const TensorView& part) { return as_optional(transpose(part, axes)); });
  }
  return result;
}

Result<TensorView> reshape(const TensorView& view, const base::Shape& shape) {
  const auto n_elements = base::element_count(shape);
  if (!n_elements || *n_elements != count(view.shape) || shape.size() > kMaxRank) {
    return invalid(view, fmt::format("its shape {} does not hold as many elements as {}",
                                     base::to_string(view.shape), base::to_string(shape)));
  }
  TensorView result{view.name, view.dtype, shape, {}};
  const bool keeps_rows =
      !shape.empty() && !view.shape.empty() && shape.back() == view.shape.back();
  if (keeps_rows) result.coded_as = view.coded_as;
  if (view.packed && keeps_rows) {
    result.packed = follow(view.packed, [&](const TensorView& part) {
      base::Shape own = shape;
      own.back() = part.shape.back();
      return as_optional(reshape(part, own));
    });
  }
  if (*n_elements == 0) {
    Piece empty{0, 0, shape, base::Shape(shape.size(), 0)};
    if (!view.pieces.empty()) {
      empty.source = view.pieces[0].source;
      empty.computed = view.pieces[0].computed;
    }
    result.pieces = {std::move(empty)};
    return result;
  }
  if (view.pieces.size() == 1) {
    if (const auto strides = strides_for(view.pieces[0], shape)) {
      Piece piece = view.pieces[0];
      piece.shape = shape;
      piece.strides = *strides;
      result.pieces = {std::move(piece)};
      return result;
    }
  }
  if (!shape.empty() && cut_to_rows(view, shape, result.pieces)) return result;
  result.pieces = {whole(view, shape)};
  return result;
}

Result<TensorView> stack(std::span<const TensorView> views) {
  const TensorView& first = views[0];
  TensorView result{first.name, first.dtype, first.shape, {}};
  result.coded_as = first.coded_as;
  result.shape.insert(result.shape.begin(), static_cast<std::int64_t>(views.size()));
  std::vector<Piece> pieces;
  pieces.reserve(views.size());
  for (const TensorView& view : views) {
    if (view.shape != first.shape || view.dtype != first.dtype) {
      return invalid(view,
                     fmt::format("it is {} {}; expected {} {} as in {}", dtype_name(view.dtype),
                                 base::to_string(view.shape), dtype_name(first.dtype),
                                 base::to_string(first.shape), base::quoted(first.name)));
    }
    Piece piece = view.pieces.size() == 1 ? view.pieces[0] : whole(view, view.shape);
    piece.shape.insert(piece.shape.begin(), 1);
    piece.strides.insert(piece.strides.begin(), 0);
    pieces.push_back(std::move(piece));
  }
  result.pieces = std::move(pieces);
  result.packed =
      join_packed(views, [](std::span<const TensorView> parts) { return stack(parts); });
  return result;
}

Result<TensorView> concatenate(std::span<const TensorView> views, std::size_t axis) {
  const TensorView& first = views[0];
  TensorView result{first.name, first.dtype, first.shape, {}};
  result.shape[axis] = 0;
  std::vector<Piece> pieces;
  for (const TensorView& view : views) {
    base::Shape alike = view.shape;
    if (alike.size() == first.shape.size()) alike[axis] = first.shape[axis];
    if (alike != first.shape || view.dtype != first.dtype) {
      return invalid(view, fmt::format("it is {} {}; expected {} {} but for axis {}, as in {}",
                                       dtype_name(view.dtype), base::to_string(view.shape),
                                       dtype_name(first.dtype), base::to_string(first.shape), axis,
                                       base::quoted(first.name)));
    }
    result.shape[axis] += view.shape[axis];
    pieces.insert(pieces.end(), view.pieces.begin(), view.pieces.end());
  }
  result.pieces = std::move(pieces);
  if (axis == 0) {
    result.packed =
        join_packed(views, [](std::span<const TensorView> parts) { return concatenate(parts, 0); });
    return result;
  }
  // Along another axis: that axis comes first, and goes back afterwards.
  std::vector<std::size_t> axes(first.shape.size());
  for (std::size_t k = 0; k < axes.size(); ++k) axes[k] = k;
  std::swap(axes[0], axes[axis]);
  std::vector<TensorView> turned;
  for (const TensorView& view : views) {
    MLXMILL_ASSIGN(TensorView one, transpose(decoded(view), axes));
    turned.push_back(std::move(one));
  }
  MLXMILL_ASSIGN(const TensorView joined, concatenate(turned, 0));
  return transpose(joined, axes);
}

Result<TensorView> repeat(const TensorView& view, std::size_t axis, std::int64_t times) {
  TensorView wide = decoded(view);
  const auto at = static_cast<std::ptrdiff_t>(axis) + 1;
  wide.shape.insert(wide.shape.begin() + at, times);
  for (Piece& piece : wide.pieces.edit()) {
    piece.shape.insert(piece.shape.begin() + at, times);
    piece.strides.insert(piece.strides.begin() + at, 0);
  }
  base::Shape shape = view.shape;
  shape[axis] *= times;
  return reshape(wide, shape);
}

Result<TensorView> bit_cast(const TensorView& view, DType dtype) {
  const auto from = static_cast<std::int64_t>(dtype_bytes(view.dtype));
  const auto to = static_cast<std::int64_t>(dtype_bytes(dtype));
  TensorView result = decoded(view);
  result.dtype = dtype;
  if (from == to) return result;
  if (view.shape.empty() || view.shape.back() * from % to != 0) {
    return invalid(view,
                   fmt::format("its rows {} {} are no whole number of {}", dtype_name(view.dtype),
                               base::to_string(view.shape), dtype_name(dtype)));
  }
  for (Piece& piece : result.pieces.edit()) {
    bool fits = piece.strides.back() == 1 && piece.offset * from % to == 0;
    for (std::size_t k = 0; k + 1 < piece.shape.size(); ++k) {
      fits = fits && piece.strides[k] * from % to == 0;
    }
    if (!fits) {
      result.pieces = {whole(view, view.shape)};
      break;
    }
  }
  for (Piece& piece : result.pieces.edit()) {
    for (std::int64_t& stride : piece.strides) stride = stride * from / to;
    piece.strides.back() = 1;
    piece.offset = piece.offset * from / to;
    piece.shape.back() = piece.shape.back() * from / to;
  }
  result.shape.back() = view.shape.back() * from / to;
  return result;
}

}  // namespace mlxmill::tensors
