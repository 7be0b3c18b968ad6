#include "formats/shard_list.h"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <map>
#include <set>
#include <utility>

#include "formats/errors.h"
#include "formats/unicode.h"

namespace mlxmill::formats {
namespace {

constexpr std::string_view kIndexName = "model.safetensors.index.json";
constexpr std::string_view kTorchIndexName = "pytorch_model.bin.index.json";
constexpr std::uint64_t kMaxIndexBytes = 256ull << 20;

std::vector<std::string_view> ending_in(const ModelFolder& folder, std::string_view ending) {
  std::vector<std::string_view> names;
  for (const std::string& name : folder.names()) {
    if (name.ends_with(ending)) names.push_back(name);
  }
  return names;
}

std::vector<std::string> names_like(const ModelFolder& folder, std::string_view start,
                                    std::string_view ending) {
  std::vector<std::string> names;
  for (const std::string& name : folder.names()) {
    if (name.starts_with(start) && name.ends_with(ending)) names.push_back(name);
  }
  return names;
}

std::vector<std::string> torch_names(const ModelFolder& folder) {
  return names_like(folder, "pytorch_model", ".bin");
}

Error no_shards(const ModelFolder& folder) {
  const auto others = ending_in(folder, ".safetensors");
  Error error(Code::kNotFound,
              others.empty() ? std::string("has no safetensors weights")
                             : fmt::format("has no model*.safetensors; got {}", quote_few(others)));
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

// NAME-NUMBER-of-TOTAL.safetensors or .bin
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
  constexpr std::string_view kOf = "-of-";
  name = name.substr(0, name.rfind('.'));
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

Status check_present(const ModelFolder& folder, const ShardList& list) {
  for (const std::string& name : list.names) {
    if (folder.has(name)) continue;
    return invalid(fmt::format("names shard {}, which is not in the folder", quote(name)))
        .at((folder.path() / list.index_name).string())
        .hint(kIncomplete);
  }
  return {};
}

}  // namespace

Status check_weight_kind(const ModelFolder& folder) {
  if (!ending_in(folder, ".safetensors").empty() || folder.has(kIndexName)) return {};
  const auto only = [&](std::string_view kind, const std::vector<std::string_view>& names) {
    return Error(Code::kUnsupported, fmt::format("has only {} weights: {}", kind, quote_few(names)))
        .at(folder.path().string());
  };
  if (!torch_names(folder).empty() || folder.has(kTorchIndexName)) return {};
  if (const auto names = ending_in(folder, ".gguf"); !names.empty()) {
    return only("GGUF", names).hint("give the file itself");
  }
  std::vector<std::string_view> pickles;
  for (const std::string_view ending : {".bin", ".pt", ".pth", ".ckpt"}) {
    for (const std::string_view name : ending_in(folder, ending)) {
      if (name != "training_args.bin") pickles.push_back(name);
    }
  }
  if (!pickles.empty()) {
    return only("pickle", pickles)
        .hint("those named pytorch_model*.bin beside a config.json are read");
  }
  std::vector<std::string_view> others;
  for (const std::string_view ending : {".h5", ".msgpack", ".onnx", ".npz", ".ot"}) {
    const auto more = ending_in(folder, ending);
    others.insert(others.end(), more.begin(), more.end());
  }
  if (!others.empty()) return only("foreign", others).hint("safetensors weights are needed");
  return {};
}

Result<ShardList> find_shards(const ModelFolder& folder) {
  ShardList list;
  list.torch = !folder.has(kIndexName) && ending_in(folder, ".safetensors").empty();
  list.index_name = list.torch ? kTorchIndexName : kIndexName;
  const std::string_view ending = list.torch ? ".bin" : ".safetensors";
  if (folder.has(list.index_name)) {
    MLXMILL_ASSIGN(const std::string text, folder.read(list.index_name, kMaxIndexBytes));
    auto index = parse_shard_index(text, ending);
    if (!index) return std::move(index).error().at((folder.path() / list.index_name).string());
    std::set<std::string> names;
    for (const auto& [tensor, shard] : *index) names.insert(shard);
    list.names.assign(names.begin(), names.end());
    list.index = *std::move(index);
    MLXMILL_TRY(check_present(folder, list));
    return list;
  }
  list.names = list.torch ? torch_names(folder) : names_like(folder, "model", ending);
  if (list.names.empty()) return no_shards(folder);
  MLXMILL_TRY(check_numbering(folder, list.names));
  return list;
}

}  // namespace mlxmill::formats
