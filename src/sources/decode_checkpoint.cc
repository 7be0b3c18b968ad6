#include "sources/decode_checkpoint.h"

#include <system_error>

#include "base/checked_math.h"
#include "formats/json.h"
#include "sources/ggml.h"
#include "tensors/view.h"

namespace mlxmill::sources {
namespace {

constexpr std::uint64_t kMaxSettingsBytes = 16 << 20;

/// ModelOpt's settings, when they are in a file of their own; null without one.
Result<base::Value> modelopt_settings(const formats::Checkpoint& checkpoint) {
  const std::filesystem::path path = checkpoint.folder / "hf_quant_config.json";
  std::error_code error;
  if (!std::filesystem::is_regular_file(path, error)) return base::Value();
  MLXMILL_ASSIGN(const std::string text, io::read_text(path, kMaxSettingsBytes));
  auto value = formats::parse_json(text);
  if (!value) return std::move(value).error().at(path.string());
  return value;
}

}  // namespace

Result<std::vector<tensors::TensorView>> stored_views(const formats::Checkpoint& checkpoint) {
  std::vector<tensors::TensorView> views;
  views.reserve(checkpoint.tensors.size());
  for (std::size_t i = 0; i < checkpoint.tensors.size(); ++i) {
    const formats::CheckpointTensor& t = checkpoint.tensors[i];
    if (t.blocks) {
      views.push_back(ggml_view(t.tensor.name, *t.blocks, t.tensor.shape, i));
      continue;
    }
    MLXMILL_ASSIGN(
        tensors::TensorView view,
        tensors::view_of(tensors::SourceTensor{t.tensor.name, t.tensor.dtype, t.tensor.shape}, i));
    if (!t.strides.empty()) {
      view.pieces[0].offset = t.offset;
      view.pieces[0].strides = t.strides;
    }
    views.push_back(std::move(view));
  }
  return views;
}

Result<DecodedSource> decode_checkpoint(const formats::Checkpoint& checkpoint, bool repack) {
  MLXMILL_ASSIGN(const base::Value modelopt, modelopt_settings(checkpoint));
  MLXMILL_ASSIGN(std::vector<tensors::TensorView> views, stored_views(checkpoint));
  const ReadSmall read = [&](std::size_t index) -> Result<std::vector<std::byte>> {
    const formats::CheckpointTensor& t = checkpoint.tensors[index];
    const std::uint64_t width = dtype_bytes(t.tensor.dtype);
    std::vector<std::byte> bytes(base::element_count(t.tensor.shape).value_or(0) * width);
    // Small integers that decide how others are read lie in one piece.
    const std::uint64_t begin = t.tensor.begin + static_cast<std::uint64_t>(t.offset) * width;
    MLXMILL_TRY(checkpoint.shards[t.shard].file.read_at(begin, bytes));
    return bytes;
  };
  return decode(checkpoint.config, modelopt, std::move(views), read, repack);
}

}  // namespace mlxmill::sources
