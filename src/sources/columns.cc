// Columns that are not in the order of their groups, and modules that MLX cannot hold for it.
#include <fmt/format.h>

#include <cstring>

#include "base/quoted.h"
#include "sources/methods.h"

namespace mlxmill::sources {

using tensors::TensorView;

Status check_index(const Work& work, GroupedCodes& parts) {
  if (!parts.index) return {};
  const TensorView& index = *parts.index;
  const std::int64_t columns = parts.codes.shape.back() * 32 / parts.bits;
  const std::int64_t groups = parts.scales.shape.back();
  if (index.shape != base::Shape{columns}) return unfit(index, fmt::format("I32 [{}]", columns));
  MLXMILL_ASSIGN(const std::vector<std::byte> bytes, work.table.read(index));
  bool in_order = columns % groups == 0;
  bool runs = parts.group > 0 && (columns + parts.group - 1) / parts.group == groups;
  for (std::int64_t i = 0; i < columns; ++i) {
    std::int32_t group;
    std::memcpy(&group, bytes.data() + static_cast<std::size_t>(i) * sizeof(group), sizeof(group));
    if (group < 0 || group >= groups) {
      return Error(Code::kInvalidInput,
                   fmt::format("entry {} is group {}; expected 0 to {}", i, group, groups - 1))
          .at(fmt::format("tensor {}", base::quoted(index.name)));
    }
    in_order = in_order && group == i / (columns / groups);
    runs = runs && group == i / parts.group;
  }
  if (in_order || runs) parts.index.reset();
  if (in_order && !runs) parts.group = 0;
  return {};
}

void DecodedModules::add(const TensorView& view) {
  ++n_modules_;
  if (view.packed) return;
  ++(view.coded_as ? n_quantized_ : n_floats_);
}

void DecodedModules::warn(DecodedSource& result) const {
  if (n_quantized_ != 0) {
    result.warnings.push_back(
        fmt::format("{} of {} modules keep columns in another order than their groups (desc_act, "
                    "actorder) or groups of a size that MLX does not have: they are dequantized "
                    "and quantized anew, which rounds them a second time",
                    n_quantized_, n_modules_));
  }
  if (n_floats_ != 0) {
    result.warnings.push_back(
        fmt::format("{} of {} modules have rows that MLX cannot quantize in such groups: they are "
                    "dequantized and stay so",
                    n_floats_, n_modules_));
  }
}

}  // namespace mlxmill::sources
