// Eight-bit floats with scales for blocks, rows, tensors or experts: DeepSeek, Qwen, Mistral,
// MiniMax (mxfp8).
#include <fmt/format.h>

#include "base/quoted.h"
#include "sources/methods.h"
#include "tensors/view.h"

namespace mlxmill::sources {

using tensors::TensorView;

namespace {

bool is_float8(const TensorView& view) {
  return view.dtype == DType::kF8E4M3 || view.dtype == DType::kF8E5M2;
}

/// The tensor that a scale belongs to: P.weight beside P.weight_scale_inv, or experts.down_proj
/// beside experts.down_proj_scale_inv.
Status decode_one(Work& work, const std::string& stem, const std::string& ending,
                  const std::optional<Block>& block, bool exponents) {
  const TensorView* weight = work.table.find(stem);
  if (!weight) {
    return Error(Code::kInvalidInput, fmt::format("there is no {} for it", base::quoted(stem)))
        .at(fmt::format("tensor {}", base::quoted(stem + ending)))
        .hint("is a shard missing?");
  }
  if (!weight->pieces.empty() && weight->pieces[0].computed) {
    return Error(Code::kInvalidInput,
                 fmt::format("{} has another scale already", base::quoted(stem)))
        .at(fmt::format("tensor {}", base::quoted(stem + ending)));
  }
  // A scale beside weights that are floats already is a remnant.
  if (is_mlx_float(weight->dtype)) {
    work.drop(stem + ending, "a scale of weights that are no 8-bit floats any more");
    return {};
  }
  MLXMILL_ASSIGN(TensorView scales, work.table.take(stem + ending, stem));
  MLXMILL_ASSIGN(TensorView numbers, work.table.take(stem, stem + ending));
  if (numbers.dtype == DType::kU8) numbers.dtype = DType::kF8E4M3;
  if (!is_float8(numbers)) return unfit(numbers, "F8_E4M3 or F8_E5M2");
  const bool one_byte = scales.dtype == DType::kU8 || scales.dtype == DType::kF8E8M0;
  if (one_byte) scales.dtype = DType::kF8E8M0;
  if (exponents && one_byte && numbers.dtype == DType::kF8E4M3) {
    MLXMILL_ASSIGN(TensorView view, mxfp8_view(std::move(numbers), std::move(scales)));
    work.table.put(std::move(view));
    return {};
  }
  MLXMILL_ASSIGN(TensorView view, float8_view(numbers, std::move(scales), block));
  work.table.put(std::move(view));
  return {};
}

/// DeepSeek's own names, P.weight beside P.scale. Experts may be FP4, two codes to a byte.
Status decode_deepseek(Work& work, const std::string& stem, const std::optional<Block>& block,
                       bool exponents) {
  const TensorView* weight = work.table.find(stem + ".weight");
  const TensorView* scales = work.table.find(stem + ".scale");
  const bool one_byte = scales->dtype == DType::kU8 || scales->dtype == DType::kF8E8M0;
  const bool fp4 = one_byte && !scales->shape.empty() &&
                   scales->shape.size() == weight->shape.size() &&
                   (weight->dtype == DType::kI8 || weight->dtype == DType::kU8) &&
                   weight->shape.back() == scales->shape.back() * 16;
  if (!fp4) {
    MLXMILL_ASSIGN(TensorView renamed, work.table.take(stem + ".scale", stem));
    renamed.name = stem + ".weight_scale";
    work.table.put(std::move(renamed));
    return decode_one(work, stem + ".weight", "_scale", block, exponents);
  }
  MLXMILL_ASSIGN(TensorView codes, work.table.take(stem + ".weight", stem));
  MLXMILL_ASSIGN(TensorView factors, work.table.take(stem + ".scale", stem));
  codes.dtype = DType::kU8;
  MLXMILL_ASSIGN(TensorView view,
                 fp4_view(stem + ".weight", std::move(codes), std::move(factors), std::nullopt));
  work.table.put(std::move(view));
  return {};
}

}  // namespace

Status decode_fp8(Work& work) {
  MLXMILL_ASSIGN(const auto block, block_setting(work.settings, "weight_block_size"));
  const bool mxfp8 = work.result.method == "mxfp8" ||
                     (text_setting(work.settings, "scale_fmt", "") == "ue8m0" && block &&
                      block->second == 32 && (block->first == 32 || block->first == 1));
  // fbgemm_fp8's bound of activations.
  for (const std::string& stem : work.table.ending_in(".input_scale_ub"))
    work.drop(stem + ".input_scale_ub", "a scale of activations");
  for (const std::string ending : {"_scale_inv", "_scale"}) {
    for (const std::string& stem : work.table.ending_in(ending)) {
      const bool activations = stem.ends_with("input") || stem.ends_with("activation") ||
                               stem.ends_with("output") || stem.ends_with(".k") ||
                               stem.ends_with(".v") || stem.ends_with(".q") ||
                               stem.ends_with(".kv");
      if (activations) {
        work.drop(stem + ending, "a scale of activations");
        continue;
      }
      // Other things have scales, too: hyper-connections' hc_attn_scale.
      if (!work.table.find(stem) && !stem.ends_with("weight")) continue;
      MLXMILL_TRY(decode_one(work, stem, ending, block, mxfp8));
    }
  }
  for (const std::string& stem : work.table.ending_in(".scale")) {
    if (work.table.find(stem + ".weight")) MLXMILL_TRY(decode_deepseek(work, stem, block, mxfp8));
  }
  if (mxfp8) {
    work.result.quantization = base::Value(base::Object{
        {"group_size", base::Value(32)}, {"bits", base::Value(8)}, {"mode", base::Value("mxfp8")}});
  }
  return {};
}

}  // namespace mlxmill::sources
