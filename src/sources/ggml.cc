#include "sources/ggml.h"

#include <optional>

#include "kernels/ggml.h"
#include "tensors/view.h"

namespace mlxmill::sources {

using base::GgmlType;
using tensors::Computed;
using tensors::RepackGgml;
using tensors::TensorView;

namespace {

std::optional<DType> plain_type(GgmlType type) {
  switch (type) {
    case GgmlType::kF32:
      return DType::kF32;
    case GgmlType::kF16:
      return DType::kF16;
    case GgmlType::kBF16:
      return DType::kBF16;
    case GgmlType::kF64:
      return DType::kF64;
    case GgmlType::kI8:
      return DType::kI8;
    case GgmlType::kI16:
      return DType::kI16;
    case GgmlType::kI32:
      return DType::kI32;
    case GgmlType::kI64:
      return DType::kI64;
    default:
      return std::nullopt;
  }
}

/// A window over the whole of a stored tensor.
TensorView stored(std::string name, DType dtype, base::Shape shape, std::size_t source) {
  // The file's own reader has checked the shape.
  return *tensors::view_of(tensors::SourceTensor{std::move(name), dtype, std::move(shape)}, source);
}

}  // namespace

TensorView ggml_view(std::string name, GgmlType type, base::Shape shape, std::size_t source) {
  if (const auto dtype = plain_type(type))
    return stored(std::move(name), *dtype, std::move(shape), source);
  const base::GgmlTypeInfo& info = base::ggml_type_info(type);
  base::Shape bytes = shape;
  bytes.back() = shape.back() / info.block_elements * info.block_bytes;
  const TensorView blocks = stored(name, DType::kU8, std::move(bytes), source);
  const auto scheme = kernels::ggml_repack_scheme(type);
  if (!scheme) {
    return tensors::view_of(
        std::move(name),
        Computed{tensors::DecodeGgml{type}, DType::kF32, std::move(shape), {blocks}});
  }
  const bool affine = scheme->mode == Mode::kAffine;
  const auto part = [&](RepackGgml::Part which, DType dtype, std::int64_t columns) {
    base::Shape own = shape;
    own.back() = columns;
    return tensors::view_of(
        name, Computed{RepackGgml{type, *scheme, which}, dtype, std::move(own), {blocks}});
  };
  const std::int64_t groups = shape.back() / scheme->group_size;
  const DType scale_type = affine ? DType::kF16 : DType::kU8;
  std::optional<TensorView> biases;
  if (affine) biases = part(RepackGgml::Part::kBiases, scale_type, groups);
  tensors::Packed packed(
      *scheme, part(RepackGgml::Part::kCodes, DType::kU32, shape.back() * scheme->bits / 32),
      part(RepackGgml::Part::kScales, scale_type, groups), std::move(biases));
  TensorView view = tensors::packed_view(name, std::move(packed), DType::kF16);
  // Weights that have to be decoded after all lose nothing to F16 arithmetic.
  TensorView decoded = tensors::view_of(
      std::move(name),
      Computed{tensors::DecodeGgml{type}, DType::kF32, std::move(shape), {blocks}});
  decoded.packed = view.packed;
  return decoded;
}

}  // namespace mlxmill::sources
