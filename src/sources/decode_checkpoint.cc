#include "sources/decode_checkpoint.h"

#include <algorithm>
#include <string_view>
#include <system_error>

#include "base/checked_math.h"
#include "formats/json.h"
#include "sources/ggml.h"
#include "tensors/view.h"

namespace mlxmill::sources {
namespace {

constexpr std::uint64_t kMaxSettingsBytes = 16 << 20;

/// Settings in a file of their own, and the method of those that do not name it.
struct SettingsFile {
  std::string_view name;
  std::string_view method;
};

/// ModelOpt's; AutoGPTQ's and AutoAWQ's, which early checkpoints have alone.
constexpr SettingsFile kSettingsFiles[] = {
    {"hf_quant_config.json", ""}, {"quantize_config.json", "gptq"}, {"quant_config.json", "awq"}};

bool has_packed_codes(const formats::Checkpoint& checkpoint) {
  return std::any_of(
      checkpoint.tensors.begin(), checkpoint.tensors.end(),
      [](const formats::CheckpointTensor& t) { return t.tensor.name.ends_with(".qweight"); });
}

/// The first that is there; null without one.
Result<base::Value> settings_beside(const formats::Checkpoint& checkpoint) {
  for (const SettingsFile& file : kSettingsFiles) {
    // Files of these names also lie beside weights that are floats.
    if (!file.method.empty() && !has_packed_codes(checkpoint)) continue;
    const std::filesystem::path path = checkpoint.folder / file.name;
    std::error_code error;
    if (!std::filesystem::is_regular_file(path, error)) continue;
    MLXMILL_ASSIGN(const std::string text, io::read_text(path, kMaxSettingsBytes));
    auto value = formats::parse_json(text);
    if (!value) return std::move(value).error().at(path.string());
    if (!file.method.empty() && value->as_object() && !value->find("quant_method"))
      value->set("quant_method", base::Value(std::string(file.method)));
    return value;
  }
  return base::Value();
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
      tensors::Piece& piece = view.pieces.edit()[0];
      piece.offset = t.offset;
      piece.strides = t.strides;
    }
    views.push_back(std::move(view));
  }
  return views;
}

Result<DecodedSource> decode_checkpoint(const formats::Checkpoint& checkpoint, bool repack) {
  MLXMILL_ASSIGN(const base::Value beside, settings_beside(checkpoint));
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
  return decode(checkpoint.config, beside, std::move(views), read, repack);
}

}  // namespace mlxmill::sources
