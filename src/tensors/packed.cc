#include "tensors/packed.h"

#include <algorithm>
#include <variant>

#include "tensors/operation.h"
#include "tensors/view.h"

namespace mlxmill::tensors {
namespace {

/// All views packed in one way.
bool packed_alike(std::span<const TensorView> views) {
  return std::all_of(views.begin(), views.end(), [&](const TensorView& view) {
    return view.packed && views[0].packed && view.packed->scheme() == views[0].packed->scheme() &&
           view.packed->parts().size() == views[0].packed->parts().size();
  });
}

/// Whether rows of one slice of a piece [n, rows, 1] are one and the same number.
bool same_for_rows(const Piece& piece) {
  const std::int64_t rows = piece.shape[1];
  if (rows == 1 || piece.strides[1] == 0) return true;
  // Rows of a larger run of one number, which was gathered because no window could hold it.
  if (!piece.computed || !std::holds_alternative<Gathered>(piece.computed->operation)) return false;
  const TensorView& whole = piece.computed->inputs[0];
  if (whole.pieces.size() != 1 || piece.strides[1] != 1) return false;
  const Piece& window = whole.pieces[0];
  std::int64_t run = 1;
  for (std::size_t k = window.shape.size(); k-- > 0;) {
    if (window.shape[k] != 1 && window.strides[k] != 0) break;
    run *= window.shape[k];
  }
  const bool aligned = piece.shape[0] == 1 || piece.strides[0] % run == 0;
  return aligned && piece.offset / run == (piece.offset + rows - 1) / run;
}

}  // namespace

std::optional<TensorView> as_optional(Result<TensorView> result) {
  if (!result) return std::nullopt;
  return *std::move(result);
}

std::shared_ptr<const Packed> follow(const std::shared_ptr<const Packed>& packed,
                                     const Step& step) {
  if (!packed) return nullptr;
  const auto both = [&](const TensorView* part, std::optional<TensorView>& result) {
    if (part) result = step(*part);
    return !part || result;
  };
  std::optional<TensorView> codes = step(packed->codes());
  std::optional<TensorView> scales = step(packed->scales());
  std::optional<TensorView> biases;
  std::optional<TensorView> factor;
  if (!codes || !scales || !both(packed->biases(), biases) || !both(packed->factor(), factor)) {
    return nullptr;
  }
  return std::make_shared<const Packed>(packed->scheme(), *std::move(codes), *std::move(scales),
                                        std::move(biases), std::move(factor));
}

std::optional<TensorView> factor_of_slices(const TensorView& factor) {
  if (factor.shape.size() != 3 || factor.shape[1] == 0 || factor.shape[2] != 1) return std::nullopt;
  if (!std::all_of(factor.pieces.begin(), factor.pieces.end(), same_for_rows)) return std::nullopt;
  return as_optional(reshape(slice(factor, 1, 0, 1), {factor.shape[0]}));
}

std::shared_ptr<const Packed> follow_columns(const std::shared_ptr<const Packed>& packed,
                                             std::int64_t begin, std::int64_t end) {
  if (!packed) return nullptr;
  const std::int64_t group = packed->scheme().group_size;
  if (begin % group != 0 || end % group != 0) return nullptr;
  const std::int64_t columns = packed->scales().shape.back() * group;
  return follow(packed, [&](const TensorView& part) {
    const std::int64_t n = part.shape.back();
    if (n == 1 && columns > group) return std::optional<TensorView>(part);
    return std::optional<TensorView>(
        slice(part, part.shape.size() - 1, begin * n / columns, end * n / columns));
  });
}

std::shared_ptr<const Packed> join_packed(std::span<const TensorView> views, const Join& join) {
  if (!packed_alike(views)) return nullptr;
  const Packed& first = *views[0].packed;
  std::vector<std::optional<TensorView>> joined;
  for (std::size_t part = 0; part < first.parts().size(); ++part) {
    std::vector<TensorView> of_all;
    of_all.reserve(views.size());
    for (const TensorView& view : views) of_all.push_back(view.packed->parts()[part]);
    joined.push_back(as_optional(join(of_all)));
    if (!joined.back()) return nullptr;
  }
  const auto taken = [&](const TensorView* part) {
    return part ? std::move(joined[static_cast<std::size_t>(part - first.parts().data())])
                : std::nullopt;
  };
  std::optional<TensorView> biases = taken(first.biases());
  return std::make_shared<const Packed>(first.scheme(), *std::move(joined[0]),
                                        *std::move(joined[1]), std::move(biases),
                                        taken(first.factor()));
}

}  // namespace mlxmill::tensors
