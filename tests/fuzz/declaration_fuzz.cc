// Any bytes as a declaration, applied to a tiny config and checkpoint: errors are fine, crashes are
// not.
#include <cstddef>
#include <cstdint>
#include <string_view>

#include "architectures/declaration.h"
#include "base/checked_math.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace mlxmill;
  using architectures::Declaration;
  static const base::Value config(base::Object{
      {"model_type", "tiny"},
      {"num_hidden_layers", 2},
      {"hidden_size", 8},
      {"num_attention_heads", 2},
      {"tie_word_embeddings", true},
      {"head_dim", base::Value()},
      {"layer_types", base::Array{"full_attention", "sliding_attention"}},
      {"text_config", base::Object{{"vocab_size", 16}, {"rate", 0.5}}},
  });
  static const std::vector<tensors::SourceTensor> tensors = {
      {"model.embed_tokens.weight", DType::kBF16, {16, 8}},
      {"lm_head.weight", DType::kBF16, {16, 8}},
      {"model.layers.0.mlp.experts.0.up_proj.weight", DType::kBF16, {4, 8}},
      {"model.layers.0.mlp.experts.1.up_proj.weight", DType::kBF16, {4, 8}},
      {"model.layers.0.self_attn.qkv.weight", DType::kF16, {12, 8}},
      {"model.layers.1.conv.weight", DType::kF32, {4, 1, 3}},
      {"model.layers.1.q.weight", DType::kU32, {8, 1}},
      {"model.layers.1.q.scales", DType::kBF16, {8, 1}},
  };
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  const auto declaration = Declaration::parse(text, "fuzz.toml");
  if (!declaration) return 0;
  const auto layout = declaration->apply(config, tensors);
  if (!layout) return 0;
  // Every element of every piece must lie within its source.
  for (const architectures::Module& module : layout->modules) {
    for (const tensors::TensorView& view : module.tensors) {
      std::uint64_t n_elements = 0;
      for (const tensors::Piece& piece : view.pieces) {
        const std::uint64_t n_piece = base::element_count(piece.shape).value();
        n_elements += n_piece;
        if (n_piece == 0) continue;
        std::int64_t last = piece.offset;
        for (std::size_t axis = 0; axis < piece.shape.size(); ++axis) {
          last += (piece.shape[axis] - 1) * piece.strides[axis];
        }
        const auto extent = base::element_count(tensors.at(piece.source).shape).value();
        if (piece.offset < 0 || last < 0 || static_cast<std::uint64_t>(last) >= extent) {
          __builtin_trap();
        }
      }
      if (n_elements != base::element_count(view.shape).value()) __builtin_trap();
    }
  }
  return 0;
}
