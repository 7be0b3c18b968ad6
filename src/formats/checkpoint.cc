#include "formats/checkpoint.h"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <map>
#include <numeric>
#include <set>
#include <utility>

#include "formats/errors.h"
#include "formats/json.h"
#include "formats/model_folder.h"
#include "formats/shard_list.h"
#include "formats/torch_file.h"
#include "formats/unicode.h"

namespace mlxmill::formats {
namespace {

namespace fs = std::filesystem;

// Far above what is published, far below what would hurt.
constexpr std::uint64_t kMaxConfigBytes = 64ull << 20;

Result<base::Value> read_object(const ModelFolder& folder, std::string_view name,
                                const JsonLimits& limits = {}) {
  const std::string path = (folder.path() / name).string();
  MLXMILL_ASSIGN(const std::string text, folder.read(name, kMaxConfigBytes));
  auto value = parse_json(text, limits);
  if (!value) return std::move(std::move(value).error().at(path));
  if (!value->as_object()) {
    return invalid(fmt::format("holds {}; expected an object", value->type_name())).at(path);
  }
  return value;
}

Result<base::Value> config_of(const ModelFolder& folder) {
  if (!folder.has("config.json")) {
    Error error(Code::kNotFound, "has no config.json");
    error.at(folder.path().string());
    if (folder.has("adapter_config.json")) {
      error.hint("this is a LoRA adapter: merge it into its base model first");
    } else if (folder.has("params.json")) {
      error.hint("this is the model vendor's own layout; choose the Hugging Face one");
    } else {
      error.hint("give a folder in Hugging Face layout");
    }
    return error;
  }
  return read_object(folder, "config.json");
}

// bool(value) in Python.
bool is_true(const base::Value& value) {
  if (const bool* v = value.as_bool()) return *v;
  if (const std::int64_t* v = value.as_int()) return *v != 0;
  if (const double* v = value.as_float()) return *v != 0;
  if (const std::string* v = value.as_string()) return !v->empty();
  if (const base::Array* v = value.as_array()) return !v->empty();
  if (const base::Object* v = value.as_object()) return !v->empty();
  return !value.is_null();
}

Result<base::Value> config_for_generation(const ModelFolder& folder) {
  constexpr std::string_view kName = "generation_config.json";
  MLXMILL_ASSIGN(base::Value config, config_of(folder));
  if (!folder.has(kName)) return config;
  MLXMILL_TRY(folder.find(kName));
  // Python, and so mlx-lm, takes the last of two equal keys.
  const auto generation = read_object(folder, kName, {.refuse_duplicate_keys = false});
  if (!generation) {
    if (generation.error().code() == Code::kInvalidInput) return config;
    return generation.error();
  }
  const base::Value* eos = generation->find("eos_token_id");
  if (eos && is_true(*eos)) config.set("eos_token_id", *eos);
  return config;
}

Status open_safetensors(io::File file, const std::string& name, Checkpoint& checkpoint) {
  MLXMILL_ASSIGN(SafetensorsHeader header, read_safetensors_header(file));
  // One file may hold all there is; with more of them the list grows by itself.
  if (checkpoint.tensors.empty()) checkpoint.tensors.reserve(header.tensors.size());
  for (StoredTensor& tensor : header.tensors) {
    checkpoint.tensors.push_back({std::move(tensor), checkpoint.shards.size()});
  }
  checkpoint.shards.push_back(
      {name, std::move(file), header.file_bytes, header.data_begin, std::move(header.metadata)});
  return {};
}

// Tensors are windows over storages.
Status open_torch(io::File file, const std::string& name, Checkpoint& checkpoint) {
  MLXMILL_ASSIGN(const TorchHeader header, read_torch_header(file));
  for (const TorchTensor& t : header.tensors) {
    CheckpointTensor tensor;
    tensor.tensor = {t.name, t.dtype, t.shape, t.storage_begin, t.storage_begin + t.storage_bytes};
    tensor.shard = checkpoint.shards.size();
    const bool empty = std::find(t.shape.begin(), t.shape.end(), 0) != t.shape.end();
    tensor.offset = empty ? 0 : static_cast<std::int64_t>(t.offset);
    tensor.strides = t.strides;
    checkpoint.tensors.push_back(std::move(tensor));
  }
  checkpoint.shards.push_back({name, std::move(file), header.file_bytes, 0, {}});
  return {};
}

Status open_shards(const ModelFolder& folder, const ShardList& list, Checkpoint& checkpoint) {
  for (const std::string& name : list.names) {
    MLXMILL_ASSIGN(io::File file, folder.open_file(name));
    MLXMILL_TRY(list.torch ? open_torch(std::move(file), name, checkpoint)
                           : open_safetensors(std::move(file), name, checkpoint));
    checkpoint.weight_bytes += checkpoint.shards.back().file_bytes;
  }
  return {};
}

// Indexes into checkpoint.tensors, by name.
std::vector<std::size_t> by_name(const Checkpoint& checkpoint) {
  std::vector<std::size_t> order(checkpoint.tensors.size());
  std::iota(order.begin(), order.end(), std::size_t{0});
  std::stable_sort(order.begin(), order.end(), [&](std::size_t a, std::size_t b) {
    return checkpoint.tensors[a].tensor.name < checkpoint.tensors[b].tensor.name;
  });
  return order;
}

Status check_unique(const Checkpoint& checkpoint, const std::vector<std::size_t>& order) {
  for (std::size_t i = 1; i < order.size(); ++i) {
    const CheckpointTensor& a = checkpoint.tensors[order[i - 1]];
    const CheckpointTensor& b = checkpoint.tensors[order[i]];
    if (a.tensor.name != b.tensor.name) continue;
    return invalid(fmt::format("tensor {} is in both {} and {}", quote(a.tensor.name),
                               quote(checkpoint.shards[a.shard].name),
                               quote(checkpoint.shards[b.shard].name)))
        .at(checkpoint.folder.string())
        .hint("remove the shards that do not belong to the model");
  }
  return {};
}

// Both lists are sorted by tensor name.
Status check_index(const Checkpoint& checkpoint, const std::vector<std::size_t>& order,
                   const ShardIndex& index) {
  std::vector<std::string_view> unnamed;
  auto entry = index.begin();
  const auto absent = [&] {
    return invalid(fmt::format("puts tensor {} into {}, which does not hold it",
                               quote(entry->first), quote(entry->second)));
  };
  for (const std::size_t i : order) {
    const CheckpointTensor& tensor = checkpoint.tensors[i];
    if (entry != index.end() && entry->first < tensor.tensor.name) return absent();
    if (entry == index.end() || entry->first != tensor.tensor.name) {
      unnamed.push_back(tensor.tensor.name);
      continue;
    }
    const std::string& shard = checkpoint.shards[tensor.shard].name;
    if (entry->second != shard) {
      return invalid(fmt::format("puts tensor {} into {}, but it is in {}", quote(entry->first),
                                 quote(entry->second), quote(shard)));
    }
    ++entry;
  }
  if (entry != index.end()) return absent();
  if (unnamed.empty()) return {};
  return invalid(fmt::format("does not name {} of the tensors in its shards: {}", unnamed.size(),
                             quote_few(unnamed)));
}

}  // namespace

Result<Checkpoint> open_checkpoint(const fs::path& path, RemoteFiles remote) {
  MLXMILL_ASSIGN(const ModelFolder folder, ModelFolder::open(path, std::move(remote)));
  MLXMILL_TRY(check_weight_kind(folder));
  Checkpoint checkpoint;
  checkpoint.folder = path;
  MLXMILL_ASSIGN(checkpoint.config, config_for_generation(folder));
  MLXMILL_ASSIGN(const ShardList list, find_shards(folder));
  MLXMILL_TRY(open_shards(folder, list, checkpoint));
  const std::vector<std::size_t> order = by_name(checkpoint);
  MLXMILL_TRY(check_unique(checkpoint, order));
  if (list.index) {
    Status status = check_index(checkpoint, order, *list.index);
    if (!status) return std::move(status).error().at((path / list.index_name).string());
  }
  return checkpoint;
}

Result<base::Value> read_config(const fs::path& path) {
  MLXMILL_ASSIGN(const ModelFolder folder, ModelFolder::open(path));
  return config_of(folder);
}

Result<base::Value> load_config(const fs::path& path) {
  MLXMILL_ASSIGN(const ModelFolder folder, ModelFolder::open(path));
  return config_for_generation(folder);
}

}  // namespace mlxmill::formats
