// gpt-oss: experts as FP4 codes [experts, rows, blocks, 16 bytes] with an E8M0 exponent for each
// block of 32.
#include "sources/methods.h"
#include "tensors/view.h"

namespace mlxmill::sources {

using tensors::TensorView;

Status decode_mxfp4(Work& work) {
  for (const std::string& stem : work.table.ending_in("_blocks")) {
    const std::string name = stem + "_blocks";
    MLXMILL_ASSIGN(TensorView blocks, work.table.take(name, name));
    MLXMILL_ASSIGN(TensorView scales, work.table.take(stem + "_scales", name));
    if (blocks.shape.size() < 3 || blocks.shape.back() != 16)
      return unfit(blocks, "16 bytes for each block");
    base::Shape shape(blocks.shape.begin(), blocks.shape.end() - 1);
    shape.back() *= 16;
    MLXMILL_ASSIGN(blocks, tensors::reshape(blocks, shape));
    if (scales.dtype == DType::kF8E4M3) return unfit(scales, "U8 exponents");
    // The name stays: the same model in 16 bits keeps its experts the other way round.
    MLXMILL_ASSIGN(TensorView view,
                   fp4_view(name, std::move(blocks), std::move(scales), std::nullopt));
    work.table.put(std::move(view));
  }
  work.result.quantization = base::Value(base::Object{
      {"group_size", base::Value(32)}, {"bits", base::Value(4)}, {"mode", base::Value("mxfp4")}});
  return {};
}

}  // namespace mlxmill::sources
