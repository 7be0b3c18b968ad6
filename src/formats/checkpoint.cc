#include "formats/checkpoint.h"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <map>
#include <numeric>
#include <set>
#include <utility>

#include "formats/json.h"
#include "formats/model_folder.h"
#include "formats/shard_index.h"
#include "formats/unicode.h"

namespace mlxmill::formats {
namespace {

namespace fs = std::filesystem;

constexpr std::string_view kIndexName = "model.safetensors.index.json";
constexpr std::string_view kIncomplete = "incomplete download?";
// Far above what is published, far below what would hurt.
constexpr std::uint64_t kMaxConfigBytes = 64ull << 20;
constexpr std::uint64_t kMaxIndexBytes = 256ull << 20;
constexpr std::size_t kNamesInMessage = 3;

Error invalid(std::string what) { return Error(Code::kInvalidInput, std::move(what)); }

// The first few of a list, for a message.
std::string first_few(const std::vector<std::string_view>& names) {
  std::string text;
  for (std::size_t i = 0; i < std::min(names.size(), kNamesInMessage); ++i) {
    text += (i > 0 ? ", " : "") + quote(names[i]);
  }
  if (names.size() > kNamesInMessage) text += ", ...";
  return text;
}

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

std::vector<std::string_view> ending_in(const ModelFolder& folder, std::string_view ending) {
  std::vector<std::string_view> names;
  for (const std::string& name : folder.names()) {
    if (name.ends_with(ending)) names.push_back(name);
  }
  return names;
}

// What a folder without safetensors holds instead, if that says why it cannot be read.
Status check_weight_kind(const ModelFolder& folder) {
  if (!ending_in(folder, ".safetensors").empty() || folder.has(kIndexName)) return {};
  const auto only = [&](std::string_view kind, const std::vector<std::string_view>& names) {
    return Error(Code::kUnsupported, fmt::format("has only {} weights: {}", kind, first_few(names)))
        .at(folder.path().string());
  };
  if (const auto names = ending_in(folder, ".gguf"); !names.empty()) {
    return only("GGUF", names).hint("convert the original model, which has safetensors weights");
  }
  std::vector<std::string_view> pickles;
  for (const std::string_view ending : {".bin", ".pt", ".pth", ".ckpt"}) {
    for (const std::string_view name : ending_in(folder, ending)) {
      if (name != "training_args.bin") pickles.push_back(name);
    }
  }
  if (!pickles.empty()) {
    return only("pickle", pickles)
        .hint("loading them can run code; convert them with safetensors' convert.py first");
  }
  std::vector<std::string_view> others;
  for (const std::string_view ending : {".h5", ".msgpack", ".onnx", ".npz", ".ot"}) {
    const auto more = ending_in(folder, ending);
    others.insert(others.end(), more.begin(), more.end());
  }
  if (!others.empty()) return only("foreign", others).hint("safetensors weights are needed");
  return {};
}

Error no_shards(const ModelFolder& folder) {
  const auto others = ending_in(folder, ".safetensors");
  Error error(Code::kNotFound,
              others.empty() ? std::string("has no safetensors weights")
                             : fmt::format("has no model*.safetensors; got {}", first_few(others)));
  error.at(folder.path().string());
  if (folder.has("consolidated.safetensors")) {
    error.hint("consolidated.safetensors is Mistral's own layout; choose the Hugging Face one");
  } else if (folder.has("adapter_model.safetensors") || folder.has("adapters.safetensors")) {
    error.hint("this is a LoRA adapter: merge it into its base model first");
  } else {
    error.hint(others.empty() ? kIncomplete
                              : "an index or names like model.safetensors are needed");
  }
  return error;
}

// NAME-NUMBER-of-TOTAL.safetensors
struct ShardName {
  std::string_view stem;
  std::uint32_t number = 0;
  std::uint32_t total = 0;
  std::size_t width = 0;
};

bool take_number(std::string_view& text, std::uint32_t& value) {
  const std::size_t digits = text.size() - (text.find_last_not_of("0123456789") + 1);
  const std::string_view number = text.substr(text.size() - digits);
  text.remove_suffix(digits);
  return std::from_chars(number.data(), number.data() + number.size(), value).ec == std::errc();
}

bool parse_shard_name(std::string_view name, ShardName& shard) {
  constexpr std::string_view kEnding = ".safetensors";
  constexpr std::string_view kOf = "-of-";
  if (!name.ends_with(kEnding)) return false;
  name.remove_suffix(kEnding.size());
  const std::size_t before = name.size();
  if (!take_number(name, shard.total) || !name.ends_with(kOf)) return false;
  shard.width = before - name.size();
  name.remove_suffix(kOf.size());
  if (!take_number(name, shard.number) || !name.ends_with('-')) return false;
  shard.stem = name;
  return true;
}

// "model-00001-of-00002.safetensors" alone is half a model.
Status check_numbering(const ModelFolder& folder, const std::vector<std::string>& names) {
  std::map<std::pair<std::string_view, std::uint32_t>, std::set<std::uint32_t>> sets;
  for (const std::string& name : names) {
    ShardName shard;
    if (!parse_shard_name(name, shard)) continue;
    sets[{shard.stem, shard.total}].insert(shard.number);
  }
  for (const auto& [key, numbers] : sets) {
    for (std::uint32_t number = 1; number <= key.second; ++number) {
      if (numbers.contains(number)) continue;
      return invalid(fmt::format("shard {} of {} is missing", number, key.second))
          .at(folder.path().string())
          .hint(kIncomplete);
    }
  }
  return {};
}

Result<std::vector<std::string>> shards_without_index(const ModelFolder& folder) {
  std::vector<std::string> names;
  for (const std::string& name : folder.names()) {
    if (name.starts_with("model") && name.ends_with(".safetensors")) names.push_back(name);
  }
  if (names.empty()) return no_shards(folder);
  MLXMILL_TRY(check_numbering(folder, names));
  return names;
}

Result<std::vector<std::string>> shards_of_index(const ModelFolder& folder,
                                                 const ShardIndex& index) {
  std::set<std::string> names;
  for (const auto& [tensor, shard] : index) names.insert(shard);
  for (const std::string& name : names) {
    if (folder.has(name)) continue;
    return invalid(fmt::format("names shard {}, which is not in the folder", quote(name)))
        .at((folder.path() / kIndexName).string())
        .hint(kIncomplete);
  }
  return std::vector<std::string>(names.begin(), names.end());
}

Status open_shards(const ModelFolder& folder, const std::vector<std::string>& names,
                   Checkpoint& checkpoint) {
  for (const std::string& name : names) {
    MLXMILL_ASSIGN(const fs::path path, folder.find(name));
    MLXMILL_ASSIGN(io::File file, io::File::open_read(path));
    MLXMILL_ASSIGN(SafetensorsHeader header, read_safetensors_header(file));
    for (const StoredTensor& tensor : header.tensors) {
      checkpoint.tensors.push_back({tensor, checkpoint.shards.size()});
    }
    checkpoint.weight_bytes += header.file_bytes;
    checkpoint.shards.push_back({name, std::move(file), std::move(header)});
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
                             first_few(unnamed)));
}

}  // namespace

Result<Checkpoint> open_checkpoint(const fs::path& path) {
  MLXMILL_ASSIGN(const ModelFolder folder, ModelFolder::open(path));
  MLXMILL_TRY(check_weight_kind(folder));
  Checkpoint checkpoint;
  checkpoint.folder = path;
  MLXMILL_ASSIGN(checkpoint.config, config_for_generation(folder));
  const std::string index_path = (path / kIndexName).string();
  const auto in_index = [&](Error error) { return std::move(error.at(index_path)); };
  ShardIndex index;
  const bool indexed = folder.has(kIndexName);
  std::vector<std::string> names;
  if (indexed) {
    MLXMILL_ASSIGN(const std::string text, folder.read(kIndexName, kMaxIndexBytes));
    auto parsed = parse_shard_index(text);
    if (!parsed) return in_index(std::move(parsed).error());
    index = *std::move(parsed);
    MLXMILL_ASSIGN(names, shards_of_index(folder, index));
  } else {
    MLXMILL_ASSIGN(names, shards_without_index(folder));
  }
  MLXMILL_TRY(open_shards(folder, names, checkpoint));
  const std::vector<std::size_t> order = by_name(checkpoint);
  MLXMILL_TRY(check_unique(checkpoint, order));
  if (indexed) {
    Status status = check_index(checkpoint, order, index);
    if (!status) return in_index(std::move(status).error());
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
