#include <fmt/format.h>

#include <algorithm>
#include <map>
#include <optional>
#include <set>
#include <system_error>

#include "architectures/declaration.h"
#include "base/checked_math.h"
#include "formats/checkpoint.h"
#include "formats/gguf.h"
#include "formats/quantization_config.h"
#include "io/file.h"
#include "mlxmill/inspect.h"
#include "report/inspect_gguf.h"
#include "sources/stored_coding.h"

namespace mlxmill {
namespace {

using formats::Checkpoint;
using formats::QuantizationConfig;

constexpr std::string_view kUnknownCoding = "quantized, scheme unknown";

/// Builds a ModelInfo from an opened checkpoint, which may be a single file without config.
class Inspector {
 public:
  explicit Inspector(const Checkpoint& checkpoint) : c_(checkpoint) {}

  Result<ModelInfo> run() {
    MLXMILL_ASSIGN(quantization_, formats::read_quantization_config(c_.config));
    for (const formats::CheckpointTensor& t : c_.tensors) names_.insert(t.tensor.name);
    if (!quantization_) name_codings();
    for (const formats::CheckpointTensor& t : c_.tensors) add(t);
    for (const formats::Shard& shard : c_.shards) {
      info_.files.emplace_back(shard.name, shard.file_bytes);
      info_.bytes += shard.file_bytes;
    }
    if (!c_.shards.empty()) {
      const auto& metadata = c_.shards[0].metadata;
      info_.metadata.assign(metadata.begin(), metadata.end());
    }
    for (const auto& [coding, share] : shares_) {
      info_.codings.push_back({coding, share.modules.size(), share.parameters, share.bytes});
    }
    std::stable_sort(info_.codings.begin(), info_.codings.end(),
                     [](const CodingShare& a, const CodingShare& b) { return a.bytes > b.bytes; });
    if (info_.parameters) {
      info_.bits_per_weight =
          static_cast<double>(info_.bytes) * 8 / static_cast<double>(info_.parameters);
    }
    name_kind();
    return std::move(info_);
  }

 private:
  void name_codings() {
    std::vector<tensors::SourceTensor> all;
    for (const formats::CheckpointTensor& t : c_.tensors)
      all.push_back({t.tensor.name, t.tensor.dtype, t.tensor.shape});
    codings_ = sources::stored_codings(c_.config, all);
  }

  struct Share {
    std::set<std::string> modules;
    std::uint64_t parameters = 0;
    std::uint64_t bytes = 0;
  };

  /// The module a tensor belongs to when that module is quantized.
  std::optional<std::string> quantized_module(const std::string& name) const {
    const std::size_t dot = name.rfind('.');
    if (dot == std::string::npos) return std::nullopt;
    const std::string part = name.substr(dot + 1);
    if (part != "weight" && part != "scales" && part != "biases") return std::nullopt;
    const std::string module = name.substr(0, dot);
    if (!names_.count(module + ".scales") || !names_.count(module + ".weight")) return std::nullopt;
    return module;
  }

  void add(const formats::CheckpointTensor& t) {
    const formats::StoredTensor& tensor = t.tensor;
    InspectedTensor shown{tensor.name,
                          tensor.dtype,
                          {tensor.shape.begin(), tensor.shape.end()},
                          c_.shards[t.shard].name,
                          tensor.end - tensor.begin,
                          {}};
    std::uint64_t parameters = base::element_count(tensor.shape).value_or(0);
    std::string coding(dtype_name(tensor.dtype));
    std::string module = tensor.name.substr(0, tensor.name.rfind('.'));
    const auto other = codings_.find(tensor.name);
    if (other != codings_.end()) {
      module = other->second.module;
      coding = other->second.coding;
      parameters = other->second.parameters;
      if (parameters != 0) shown.coding = coding;
    } else if (const auto owner = quantized_module(tensor.name)) {
      module = *owner;
      const std::optional<Scheme> scheme =
          quantization_ ? quantization_->for_module(module) : std::nullopt;
      coding = scheme ? describe(*scheme) : std::string(kUnknownCoding);
      const bool is_codes = tensor.name == module + ".weight";
      if (is_codes) shown.coding = coding;
      parameters =
          is_codes ? parameters * 32 / static_cast<std::uint64_t>(scheme ? scheme->bits : 32) : 0;
    }
    Share& share = shares_[coding];
    share.modules.insert(module);
    share.parameters += parameters;
    share.bytes += shown.bytes;
    info_.parameters += parameters;
    info_.tensors.push_back(std::move(shown));
  }

  void name_kind() {
    const bool mlx =
        std::find(info_.metadata.begin(), info_.metadata.end(),
                  std::pair<std::string, std::string>("format", "mlx")) != info_.metadata.end();
    if (c_.config.is_null()) {
      info_.kind = "safetensors file";
      return;
    }
    info_.kind = quantization_ ? "MLX quantized model"
                 : mlx         ? "MLX model"
                               : "Hugging Face checkpoint";
    if (const base::Value* type = c_.config.find("model_type"); type && type->as_string())
      info_.model_type = *type->as_string();
    if (Result<architectures::Catalogue> catalogue =
            architectures::Catalogue::for_config(c_.config)) {
      if (Result<architectures::Declaration> family = catalogue->find(c_.config))
        info_.family = family->family();
    }
  }

  const Checkpoint& c_;
  std::optional<QuantizationConfig> quantization_;
  std::map<std::string, sources::StoredCoding> codings_;  ///< Of others' ways to quantize.
  std::set<std::string> names_;
  std::map<std::string, Share> shares_;
  ModelInfo info_;
};

/// One file as a checkpoint of one shard; the config beside it, if any, tells how it is quantized.
Result<Checkpoint> open_single(const std::filesystem::path& path) {
  Checkpoint checkpoint;
  checkpoint.folder = path.parent_path();
  MLXMILL_ASSIGN(io::File file, io::File::open_read(path));
  MLXMILL_ASSIGN(formats::SafetensorsHeader header, formats::read_safetensors_header(file));
  for (const formats::StoredTensor& tensor : header.tensors)
    checkpoint.tensors.push_back({tensor, 0});
  checkpoint.weight_bytes = header.file_bytes;
  checkpoint.shards.push_back({path.filename().string(), std::move(file), header.file_bytes,
                               header.data_begin, std::move(header.metadata)});
  if (Result<base::Value> config = formats::read_config(checkpoint.folder))
    checkpoint.config = *std::move(config);
  return checkpoint;
}

}  // namespace

Result<ModelInfo> inspect_model(const std::filesystem::path& path) {
  std::error_code error;
  if (formats::is_gguf_file(path)) {
    return report::inspect_gguf(path);
  }
  Result<Checkpoint> checkpoint = std::filesystem::is_regular_file(path, error)
                                      ? open_single(path)
                                      : formats::open_checkpoint(path);
  if (!checkpoint) return std::move(checkpoint).error();
  return Inspector(*checkpoint).run();
}

}  // namespace mlxmill
