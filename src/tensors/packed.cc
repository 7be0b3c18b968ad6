#include "tensors/packed.h"

#include <algorithm>

#include "tensors/view.h"

namespace mlxmill::tensors {
namespace {

/// All views packed in one way.
bool packed_alike(std::span<const TensorView> views) {
  return std::all_of(views.begin(), views.end(), [&](const TensorView& view) {
    return view.packed && views[0].packed && view.packed->scheme == views[0].packed->scheme;
  });
}

}  // namespace

std::optional<TensorView> as_optional(Result<TensorView> result) {
  if (!result) return std::nullopt;
  return *std::move(result);
}

std::shared_ptr<const Packed> follow(const std::shared_ptr<const Packed>& packed,
                                     const Step& step) {
  if (!packed) return nullptr;
  std::optional<TensorView> codes = step(packed->codes);
  std::optional<TensorView> scales = step(packed->scales);
  if (!codes || !scales) return nullptr;
  std::optional<TensorView> biases;
  if (packed->biases) {
    biases = step(*packed->biases);
    if (!biases) return nullptr;
  }
  return std::make_shared<const Packed>(
      Packed{packed->scheme, *std::move(codes), *std::move(scales), std::move(biases)});
}

std::shared_ptr<const Packed> follow_columns(const std::shared_ptr<const Packed>& packed,
                                             std::int64_t begin, std::int64_t end) {
  if (!packed) return nullptr;
  const std::int64_t group = packed->scheme.group_size;
  if (begin % group != 0 || end % group != 0) return nullptr;
  const std::int64_t columns = packed->scales.shape.back() * group;
  return follow(packed, [&](const TensorView& part) {
    const std::int64_t n = part.shape.back();
    return std::optional<TensorView>(
        slice(part, part.shape.size() - 1, begin * n / columns, end * n / columns));
  });
}

std::shared_ptr<const Packed> join_packed(std::span<const TensorView> views, const Join& join) {
  if (!packed_alike(views)) return nullptr;
  std::vector<TensorView> codes;
  std::vector<TensorView> scales;
  std::vector<TensorView> biases;
  for (const TensorView& view : views) {
    codes.push_back(view.packed->codes);
    scales.push_back(view.packed->scales);
    if (view.packed->biases) biases.push_back(*view.packed->biases);
  }
  Packed result{views[0].packed->scheme, {}, {}, {}};
  std::optional<TensorView> all_codes = as_optional(join(codes));
  std::optional<TensorView> all_scales = as_optional(join(scales));
  if (!all_codes || !all_scales) return nullptr;
  if (!biases.empty()) {
    result.biases = as_optional(join(biases));
    if (!result.biases) return nullptr;
  }
  result.codes = *std::move(all_codes);
  result.scales = *std::move(all_scales);
  return std::make_shared<const Packed>(std::move(result));
}

}  // namespace mlxmill::tensors
