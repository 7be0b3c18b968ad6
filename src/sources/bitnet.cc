// BitNet: ternary weights, four to a byte along the outputs, with one scale.
//
// Source: mlx_lm/models/bitlinear_layers.py; row r of output block k (of a quarter of the outputs)
// is bits 2k and 2k + 1 of byte row r, less one.
#include <fmt/format.h>

#include <cmath>

#include "base/quoted.h"
#include "sources/methods.h"
#include "tensors/view.h"

namespace mlxmill::sources {

using tensors::Computed;
using tensors::TensorView;

namespace {

/// Codes 0 to 2 as MLX's affine 2 bits: scale s, bias -s.
Status decode_module(Work& work, const std::string& path, bool divides) {
  const std::string name = path + ".weight";
  const TensorView* found = work.table.find(name);
  if (!found || found->dtype != DType::kU8) return {};
  MLXMILL_ASSIGN(const TensorView bytes, work.table.take(name, name));
  MLXMILL_ASSIGN(TensorView scale, work.table.take(path + ".weight_scale", name));
  if (bytes.shape.size() != 2 || bytes.shape[0] == 0 || bytes.shape[1] == 0 ||
      bytes.shape[1] % 128 != 0)
    return unfit(bytes, "[outputs / 4, a multiple of 128 inputs]");
  if (!is_mlx_float(scale.dtype) || scale.shape != base::Shape{1}) return unfit(scale, "one float");
  std::vector<TensorView> quarters;
  for (int k = 0; k < 4; ++k) {
    quarters.push_back(tensors::view_of(
        name, Computed{tensors::ShiftBytes{2 * k, 3}, DType::kU8, bytes.shape, {bytes}}));
  }
  MLXMILL_ASSIGN(const TensorView codes, tensors::concatenate(quarters, 0));
  base::Shape packed = codes.shape;
  packed[1] /= 16;
  if (divides) {
    scale = tensors::view_of(scale.name,
                             Computed{tensors::Reciprocal{}, scale.dtype, scale.shape, {scale}});
  }
  MLXMILL_ASSIGN(scale, tensors::reshape(scale, {1, 1}));
  MLXMILL_ASSIGN(scale, tensors::repeat(scale, 0, codes.shape[0]));
  MLXMILL_ASSIGN(scale, tensors::repeat(scale, 1, codes.shape[1] / 128));
  GroupedCodes parts;
  parts.bits = 2;
  parts.codes =
      tensors::view_of(name, Computed{tensors::PackStream{2}, DType::kU32, packed, {codes}});
  parts.scales = scale;
  // Code 1 is zero; without zero points it would be 2.
  parts.add_to_zeros = -1;
  MLXMILL_ASSIGN(TensorView view, affine_view(name, std::move(parts)));
  work.table.put(std::move(view));
  return {};
}

}  // namespace

Status decode_bitnet(Work& work) {
  // mlx-lm's own bitnet has ternary layers and no others.
  if (!work.repack || work.model_type == "bitnet") {
    work.result.keeps_settings = true;
    return {};
  }
  const bool divides = text_setting(work.settings, "linear_class", "") != "autobitlinear";
  for (const std::string& path : work.table.ending_in(".weight_scale"))
    MLXMILL_TRY(decode_module(work, path, divides));
  work.result.quantization = base::Value(base::Object{
      {"group_size", base::Value(128)}, {"bits", base::Value(2)}, {"mode", base::Value("affine")}});
  return {};
}

}  // namespace mlxmill::sources
