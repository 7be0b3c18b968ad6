#include "tensors/operation.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>

namespace mlxmill::tensors {
namespace {

struct Describe {
  std::string operator()(const Gathered&) const { return "gathered"; }
  std::string operator()(const Cast&) const { return "cast"; }
  std::string operator()(const AddConstant& op) const { return fmt::format("add {}", op.value); }
  std::string operator()(const MultiplyConstant& op) const {
    return fmt::format("multiply {}", op.value);
  }
  std::string operator()(const MultiplyAlong& op) const {
    return fmt::format("multiply along {}: {}", op.axis, fmt::join(op.values, " "));
  }
  std::string operator()(const MultiplyBy&) const { return "multiply by"; }
  std::string operator()(const Normalize& op) const {
    return fmt::format("normalize {} {}", op.axis, op.epsilon);
  }
  std::string operator()(const DecodePacked& op) const {
    return fmt::format("decode {} {}", mlxmill::describe(op.scheme), op.has_global_scale);
  }
  std::string operator()(const ScaleBlocks& op) const {
    return fmt::format("scale blocks {} {}", op.rows, op.columns);
  }
  std::string operator()(const UnpackCodes& op) const {
    return fmt::format("unpack {} {}", op.bits, fmt::join(op.order, " "));
  }
  std::string operator()(const UnpackStream& op) const { return fmt::format("stream {}", op.bits); }
  std::string operator()(const PackStream& op) const { return fmt::format("pack {}", op.bits); }
  std::string operator()(const XorBytes& op) const { return fmt::format("xor {}", op.mask); }
  std::string operator()(const AddBytes& op) const { return fmt::format("add byte {}", op.value); }
  std::string operator()(const ShiftBytes& op) const {
    return fmt::format("shift {} {}", op.shift, op.mask);
  }
  std::string operator()(const Reciprocal&) const { return "reciprocal"; }
  std::string operator()(const LogOfNegative&) const { return "log of negative"; }
  std::string operator()(const Constant& op) const { return fmt::format("constant {}", op.value); }
  std::string operator()(const ResidualGate& op) const {
    return fmt::format("residual gate {} {} {}", op.temperature, op.epsilon, op.stream);
  }
  std::string operator()(const ZeroToBias& op) const { return fmt::format("bias {}", op.add); }
  std::string operator()(const DecodeGroups& op) const {
    return fmt::format("groups {} {} {} {}", op.add, op.has_zeros, op.has_index, op.group);
  }
  std::string operator()(const DecodeGgml& op) const {
    return fmt::format("ggml {}", base::ggml_type_info(op.type).name);
  }
  std::string operator()(const RepackGgml& op) const {
    return fmt::format("repack {} {}", base::ggml_type_info(op.type).name,
                       static_cast<int>(op.part));
  }
};

}  // namespace

std::size_t depth(const TensorView& view) {
  std::size_t deepest = 0;
  const Computed* last = nullptr;
  for (const Piece& piece : view.pieces) {
    if (!piece.computed || piece.computed.get() == last) continue;
    last = piece.computed.get();
    for (const TensorView& input : last->inputs) deepest = std::max(deepest, 1 + depth(input));
  }
  return deepest;
}

std::string describe(const Computed& computed) {
  std::string text = fmt::format("{} -> {} {}", std::visit(Describe{}, computed.operation),
                                 dtype_name(computed.dtype), base::to_string(computed.shape));
  for (const TensorView& input : computed.inputs) text += fmt::format(" ({})", describe(input));
  return text;
}

std::string describe(const TensorView& view) {
  std::string text = fmt::format("{}", dtype_name(view.dtype));
  for (const Piece& piece : view.pieces) {
    text +=
        fmt::format(" {}+{} [{}] [{}]",
                    piece.computed ? describe(*piece.computed) : fmt::format("{}", piece.source),
                    piece.offset, fmt::join(piece.shape, ","), fmt::join(piece.strides, ","));
  }
  return text;
}

}  // namespace mlxmill::tensors
