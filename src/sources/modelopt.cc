// NVIDIA ModelOpt: FP8 with one scale for a tensor, NVFP4 with E4M3 scales of 16 and a factor for
// the tensor.
#include <fmt/format.h>

#include "base/quoted.h"
#include "sources/methods.h"
#include "tensors/view.h"

namespace mlxmill::sources {

using tensors::TensorView;

namespace {

/// FP8_PB_WO keeps the scales of blocks as [rows, 1, columns, 1].
Result<TensorView> flat_blocks(const TensorView& scales) {
  const base::Shape& shape = scales.shape;
  if (shape.size() != 4 || shape[1] != 1 || shape[3] != 1) return scales;
  return tensors::reshape(scales, {shape[0], shape[2]});
}

/// `weight` holds FP4 codes or 8-bit floats; `prefix` is what its scales' names begin with.
Status decode_one(Work& work, const std::string& weight, const std::string& prefix) {
  const TensorView* found = work.table.find(weight);
  if (!found) {
    return Error(Code::kInvalidInput, fmt::format("there is no {} for it", base::quoted(weight)))
        .at(fmt::format("tensor {}", base::quoted(prefix)))
        .hint("is a shard missing?");
  }
  if (is_mlx_float(found->dtype)) {
    work.drop(prefix, "a scale of weights that are floats already");
    work.drop(prefix + "_2", "a scale of weights that are floats already");
    return {};
  }
  MLXMILL_ASSIGN(TensorView codes, work.table.take(weight, weight));
  MLXMILL_ASSIGN(TensorView scales, work.table.take(prefix, weight));
  std::optional<TensorView> factor = work.table.take_if(prefix + "_2");
  if (codes.dtype == DType::kF8E4M3) {
    if (factor) return unfit(*factor, "no second scale beside 8-bit floats");
    MLXMILL_ASSIGN(scales, flat_blocks(scales));
    MLXMILL_ASSIGN(TensorView view, float8_view(codes, std::move(scales), std::nullopt));
    work.table.put(std::move(view));
    return {};
  }
  if (codes.dtype != DType::kU8) return unfit(codes, "U8 or F8_E4M3");
  MLXMILL_ASSIGN(TensorView view,
                 fp4_view(weight, std::move(codes), std::move(scales), std::move(factor)));
  work.table.put(std::move(view));
  return {};
}

}  // namespace

Status decode_modelopt(Work& work) {
  const base::Value* nested = work.settings.find("quantization");
  const base::Value& settings = nested && nested->as_object() ? *nested : work.settings;
  const std::string algorithm = text_setting(settings, "quant_algo", "");
  for (const std::string_view ending : {".pre_quant_scale", ".weight_scale_inv"}) {
    for (const std::string& path : work.table.ending_in(ending)) {
      return Error(Code::kUnsupported,
                   fmt::format("ModelOpt's {} is not read", base::quoted(algorithm)))
          .at(fmt::format("tensor {}", base::quoted(path + std::string(ending))))
          .hint("convert the original checkpoint");
    }
  }
  for (const std::string_view ending :
       {".input_scale", ".q_scale", ".k_scale", ".v_scale", ".output_scale", "_input_scale"}) {
    for (const std::string& path : work.table.ending_in(ending))
      work.drop(path + std::string(ending), "a scale of activations");
  }
  for (const std::string& path : work.table.ending_in("_weight_scale"))
    MLXMILL_TRY(decode_one(work, path, path + "_weight_scale"));
  for (const std::string& path : work.table.ending_in(".weight_scale"))
    MLXMILL_TRY(decode_one(work, path + ".weight", path + ".weight_scale"));
  return {};
}

}  // namespace mlxmill::sources
