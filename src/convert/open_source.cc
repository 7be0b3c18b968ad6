#include "convert/open_source.h"

#include <fmt/format.h>

#include <algorithm>
#include <map>
#include <set>
#include <system_error>

#include "formats/gguf.h"
#include "gguf/import.h"
#include "sources/decode_checkpoint.h"

namespace mlxmill::convert {
namespace {

namespace fs = std::filesystem;
using base::GgmlType;

/// The tensors and files of a GGUF model; config and names come from its metadata.
formats::Checkpoint checkpoint_of(const fs::path& path, formats::GgufModel model) {
  formats::Checkpoint checkpoint;
  checkpoint.folder = path.parent_path();
  checkpoint.weight_bytes = model.file_bytes;
  for (const formats::GgufModelTensor& t : model.tensors) {
    formats::CheckpointTensor tensor;
    tensor.tensor = {t.tensor.name, DType::kU8, t.tensor.shape, t.tensor.begin, t.tensor.end};
    tensor.shard = t.part;
    tensor.blocks = t.tensor.type;
    checkpoint.tensors.push_back(std::move(tensor));
  }
  for (formats::GgufPart& part : model.parts) {
    checkpoint.shards.push_back({part.path.filename().string(),
                                 std::move(part.file),
                                 part.header.file_bytes,
                                 part.header.data_begin,
                                 {}});
  }
  return checkpoint;
}

/// What floats are kept in: the type of the scales where codes are kept, else the one that most
/// 16-bit weights have.
DType float_type(const formats::Checkpoint& checkpoint,
                 const std::vector<tensors::TensorView>& views) {
  std::uint64_t bf16 = 0;
  std::uint64_t f16 = 0;
  bool scales = false;
  for (std::size_t i = 0; i < views.size(); ++i) {
    const formats::StoredTensor& tensor = checkpoint.tensors[i].tensor;
    const std::uint64_t bytes = tensor.end - tensor.begin;
    if (checkpoint.tensors[i].blocks == GgmlType::kBF16) bf16 += bytes;
    if (checkpoint.tensors[i].blocks == GgmlType::kF16) f16 += bytes;
    scales = scales || (views[i].packed && views[i].packed->biases());
  }
  return !scales && bf16 > f16 ? DType::kBF16 : DType::kF16;
}

/// The bits of a type's codes that are no more than MLX has: those of a group of 32.
int nearest_bits(GgmlType type) {
  const base::GgmlTypeInfo& info = base::ggml_type_info(type);
  const std::size_t bits = info.block_bytes * 8 / info.block_elements;
  return bits >= 8 ? 8 : bits == 7 ? 6 : std::max(2, static_cast<int>(bits));
}

/// Says which block types have to be decoded.
std::optional<std::string> decoded_types(const formats::Checkpoint& checkpoint,
                                         const std::vector<tensors::TensorView>& views) {
  std::map<std::string, std::size_t> counts;
  std::map<int, std::uint64_t> weights;
  for (std::size_t i = 0; i < views.size(); ++i) {
    const base::GgmlTypeInfo& info = base::ggml_type_info(*checkpoint.tensors[i].blocks);
    if (info.block_elements == 1 || views[i].packed) continue;
    ++counts[std::string(info.name)];
    const formats::StoredTensor& tensor = checkpoint.tensors[i].tensor;
    weights[nearest_bits(*checkpoint.tensors[i].blocks)] +=
        (tensor.end - tensor.begin) / info.block_bytes * info.block_elements;
  }
  if (counts.empty()) return std::nullopt;
  std::string text;
  for (const auto& [name, n] : counts)
    text += fmt::format("{}{} of {}", text.empty() ? "" : ", ", n, name);
  const auto most =
      std::max_element(weights.begin(), weights.end(),
                       [](const auto& a, const auto& b) { return a.second < b.second; });
  return fmt::format(
      "MLX has no codes for some tensors ({}): they are decoded, and take 16 bits for each weight "
      "without -q; what -q makes of them is rounded a second time (nearest to most of them: -q "
      "--q-bits {} --q-group-size 32)",
      text, most->first);
}

Result<OpenedSource> open_gguf_source(const fs::path& path) {
  MLXMILL_ASSIGN(formats::GgufModel model, formats::open_gguf(path));
  OpenedSource source;
  // The import reads a little of the file while the model still holds it.
  std::vector<tensors::TensorView> views;
  {
    formats::Checkpoint names = checkpoint_of(path, {{}, model.tensors, 0});
    MLXMILL_ASSIGN(views, sources::stored_views(names));
    source.weights.scale_type = float_type(names, views);
    if (auto warning = decoded_types(names, views))
      source.weights.warnings.push_back(*std::move(warning));
  }
  auto imported = gguf::import_gguf(model, std::move(views));
  if (!imported) return std::move(imported).error().at(path.string());
  source.checkpoint = checkpoint_of(path, std::move(model));
  source.checkpoint.config = std::move(imported->config);
  source.weights.method = "gguf";
  source.weights.tensors = std::move(imported->tensors);
  source.weights.warnings.insert(source.weights.warnings.end(), imported->warnings.begin(),
                                 imported->warnings.end());
  source.made = std::move(imported->files);
  return source;
}

}  // namespace

Result<OpenedSource> open_source(const fs::path& path, bool repack, formats::RemoteFiles remote) {
  if (formats::is_gguf_file(path)) return open_gguf_source(path);
  OpenedSource source;
  MLXMILL_ASSIGN(source.checkpoint, formats::open_checkpoint(path, std::move(remote)));
  Result<sources::DecodedSource> weights = sources::decode_checkpoint(source.checkpoint, repack);
  if (!weights) return std::move(weights).error().at(path.string());
  source.weights = *std::move(weights);
  MLXMILL_ASSIGN(source.copies, formats::files_to_copy(path));
  // They describe codes that the output does not hold, and mlx-lm would believe them.
  if (!source.weights.method.empty() && !source.weights.keeps_settings) {
    std::erase_if(source.copies, [](const std::string& name) {
      return name == "hf_quant_config.json" || name == "quantize_config.json" ||
             name == "quant_config.json";
    });
  }
  return source;
}

}  // namespace mlxmill::convert
