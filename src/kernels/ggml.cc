#include "kernels/ggml.h"

#include "kernels/ggml-inl.h"

namespace mlxmill::kernels {

using base::GgmlType;

void decode_ggml(GgmlType type, const void* blocks, std::size_t n_blocks, float* out) {
  if (type == GgmlType::kF16 || type == GgmlType::kBF16) {
    const DType from = type == GgmlType::kF16 ? DType::kF16 : DType::kBF16;
    convert_floats(blocks, from, out, DType::kF32, n_blocks);
    return;
  }
  for (const auto find : {ggml_simple_decoder, ggml_k_decoder, ggml_iq_decoder}) {
    if (const GgmlDecoder decode = find(type)) return decode(blocks, n_blocks, out);
  }
}

}  // namespace mlxmill::kernels
