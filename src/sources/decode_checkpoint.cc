#include "sources/decode_checkpoint.h"

#include <system_error>

#include "formats/json.h"
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

Result<DecodedSource> decode_checkpoint(const formats::Checkpoint& checkpoint, bool repack) {
  MLXMILL_ASSIGN(const base::Value modelopt, modelopt_settings(checkpoint));
  std::vector<tensors::TensorView> views;
  views.reserve(checkpoint.tensors.size());
  for (std::size_t i = 0; i < checkpoint.tensors.size(); ++i) {
    const formats::StoredTensor& tensor = checkpoint.tensors[i].tensor;
    MLXMILL_ASSIGN(
        tensors::TensorView view,
        tensors::view_of(tensors::SourceTensor{tensor.name, tensor.dtype, tensor.shape}, i));
    views.push_back(std::move(view));
  }
  const ReadSmall read = [&](std::size_t index) -> Result<std::vector<std::byte>> {
    const formats::CheckpointTensor& t = checkpoint.tensors[index];
    std::vector<std::byte> bytes(t.tensor.end - t.tensor.begin);
    MLXMILL_TRY(checkpoint.shards[t.shard].file.read_at(t.tensor.begin, bytes));
    return bytes;
  };
  return decode(checkpoint.config, modelopt, std::move(views), read, repack);
}

}  // namespace mlxmill::sources
