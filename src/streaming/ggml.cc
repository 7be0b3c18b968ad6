// Weights from ggml blocks.
#include "kernels/ggml.h"

#include <cstring>

#include "streaming/computed.h"

namespace mlxmill::streaming {

using Part = tensors::RepackGgml::Part;

Status evaluate(const tensors::DecodeGgml& op, const Inputs& in, std::uint64_t begin,
                std::uint64_t n, void* out) {
  const base::GgmlTypeInfo& info = base::ggml_type_info(op.type);
  const std::uint64_t n_blocks = n / info.block_elements;
  Scratch::Lease blocks = in.scratch.take(n_blocks * info.block_bytes);
  MLXMILL_TRY(in.read(0, begin / info.block_elements * info.block_bytes,
                      n_blocks * info.block_bytes, blocks.data()));
  kernels::decode_ggml(op.type, blocks.data(), n_blocks, static_cast<float*>(out));
  return {};
}

std::uint64_t elements_per_block(const tensors::RepackGgml& op) {
  const std::uint64_t weights = base::ggml_type_info(op.type).block_elements;
  if (op.part == Part::kCodes) return weights * static_cast<std::uint64_t>(op.scheme.bits) / 32;
  return weights / static_cast<std::uint64_t>(op.scheme.group_size);
}

Status evaluate(const tensors::RepackGgml& op, const Inputs& in, std::uint64_t begin,
                std::uint64_t n, void* out) {
  const base::GgmlTypeInfo& info = base::ggml_type_info(op.type);
  const std::uint64_t per_block = elements_per_block(op);
  const std::uint64_t n_blocks = n / per_block;
  Scratch::Lease blocks = in.scratch.take(n_blocks * info.block_bytes);
  MLXMILL_TRY(
      in.read(0, begin / per_block * info.block_bytes, n_blocks * info.block_bytes, blocks.data()));
  const std::uint64_t weights = n_blocks * info.block_elements;
  Scratch::Lease codes = in.scratch.take(kernels::code_bytes(op.scheme, weights));
  Scratch::Lease scales = in.scratch.take(weights / 8);
  Scratch::Lease biases = in.scratch.take(weights / 8);
  // A block that the scheme cannot hold comes out with an infinite bias, which is counted and
  // refused later.
  kernels::repack_ggml(op.type, blocks.data(), n_blocks,
                       {codes.data(), scales.data(), biases.data()});
  const std::byte* part = op.part == Part::kCodes    ? codes.data()
                          : op.part == Part::kScales ? scales.data()
                                                     : biases.data();
  std::memcpy(out, part, n * dtype_bytes(in.computed.dtype));
  return {};
}

}  // namespace mlxmill::streaming
