#include "hub/select_files.h"

#include <fmt/format.h>

#include <algorithm>
#include <map>
#include <set>

#include "base/ascii.h"
#include "base/quoted.h"
#include "formats/checkpoint.h"
#include "formats/shard_index.h"

namespace mlxmill::hub {
namespace {

constexpr std::string_view kIndex = "model.safetensors.index.json";
constexpr std::string_view kTorchIndex = "pytorch_model.bin.index.json";
constexpr std::size_t kMostListed = 12;

/// "-00001-of-00003" at the end of a GGUF file's name without its ending; else nothing.
std::string_view part_mark(std::string_view stem) {
  constexpr std::size_t kLength = 15;
  if (stem.size() <= kLength) return {};
  const std::string_view mark = stem.substr(stem.size() - kLength);
  const auto digits = [](std::string_view t) {
    return t.find_first_not_of("0123456789") == t.npos;
  };
  const bool is_mark = mark[0] == '-' && digits(mark.substr(1, 5)) && mark.substr(6, 4) == "-of-" &&
                       digits(mark.substr(10, 5));
  return is_mark ? mark : std::string_view();
}

/// GGUF models by the path of their file, or of their parts without number and ending.
using GgufModels = std::map<std::string, std::vector<const RemoteFile*>>;

GgufModels gguf_models(const RemoteModel& model) {
  GgufModels models;
  for (const RemoteFile& file : model.files) {
    if (!file.path.ends_with(".gguf")) continue;
    std::string_view stem(file.path);
    stem.remove_suffix(5);
    const std::string name = base::lower_ascii(stem.substr(stem.rfind('/') + 1));
    // The projector of a vision model is no language model.
    if (name.starts_with("mmproj")) continue;
    stem.remove_suffix(part_mark(stem).size());
    models[std::string(stem)].push_back(&file);
  }
  return models;
}

/// Whether a GGUF model's path holds the quantization as a word of its own: "x-Q8_0", "x.Q8_0",
/// "Q8_0/x".
bool holds_word(std::string_view path, std::string_view word) {
  const std::string text = base::lower_ascii(path);
  const std::string wanted = base::lower_ascii(word);
  const auto is_edge = [&](std::size_t at) {
    return at >= text.size() || text[at] == '-' || text[at] == '.' || text[at] == '/';
  };
  for (std::size_t at = text.find(wanted); at != text.npos; at = text.find(wanted, at + 1)) {
    if ((at == 0 || is_edge(at - 1)) && is_edge(at + wanted.size())) return true;
  }
  return false;
}

std::string listed(const GgufModels& models) {
  std::vector<std::string> names;
  for (const auto& [stem, files] : models) names.push_back(base::quoted(stem));
  const std::size_t n = names.size();
  if (n > kMostListed) names.resize(kMostListed);
  std::string text = fmt::format("{}", fmt::join(names, ", "));
  if (n > kMostListed) text += fmt::format(" and {} more", n - kMostListed);
  return text;
}

Result<Selection> select_gguf(const RemoteModel& model, std::string_view file) {
  const GgufModels all = gguf_models(model);
  GgufModels found;
  for (const auto& [stem, files] : all) {
    const bool exact = std::any_of(files.begin(), files.end(),
                                   [&](const RemoteFile* f) { return f->path == file; });
    if (file.empty() || exact || holds_word(stem, file)) found[stem] = files;
    if (exact) {
      found = {{stem, files}};
      break;
    }
  }
  if (found.empty()) {
    Error error(Code::kNotFound, fmt::format("has no GGUF file {}", base::quoted(file)));
    error.at(model.repo);
    if (!all.empty()) error.hint("it has " + listed(all));
    return error;
  }
  if (found.size() > 1) {
    return Error(Code::kUsage, fmt::format("has several GGUF models: {}", listed(found)))
        .at(model.repo)
        .hint(fmt::format("choose one, as in {}:Q8_0, or by --file", model.repo));
  }
  Selection selection;
  selection.weights = found.begin()->second;
  selection.gguf = selection.weights.front()->path;
  return selection;
}

bool is_needed(std::string_view path) {
  static constexpr std::string_view kRead[] = {
      "config.json", "hf_quant_config.json", "quantize_config.json", "quant_config.json",
      "README.md",   "recipe.yaml"};
  if (std::find(std::begin(kRead), std::end(kRead), path) != std::end(kRead)) return true;
  return formats::is_copied_file(path);
}

void select_like(const RemoteModel& model, std::string_view start, std::string_view ending,
                 Selection& selection) {
  for (const RemoteFile& file : model.files) {
    if (file.path.find('/') == std::string::npos && file.path.starts_with(start) &&
        file.path.ends_with(ending))
      selection.weights.push_back(&file);
  }
}

Error no_weights(const RemoteModel& model) {
  std::set<std::string> endings;
  for (const RemoteFile& file : model.files) {
    const std::size_t dot = file.path.rfind('.');
    if (dot != std::string::npos && dot > 0 && file.path.find('/', dot) == std::string::npos)
      endings.insert(base::quoted(std::string_view(file.path).substr(dot)));
  }
  Error error(Code::kNotFound, fmt::format("has no weights that are read; its files end in {}",
                                           fmt::join(endings, ", ")));
  error.at(model.repo);
  if (model.find("adapter_config.json")) {
    error.hint("this is a LoRA adapter: merge it into its base model first");
  } else {
    error.hint("expected model*.safetensors, pytorch_model*.bin or .gguf files");
  }
  return error;
}

}  // namespace

Result<Selection> select_files(const RemoteModel& model, std::string_view file) {
  if (!file.empty()) return select_gguf(model, file);
  Selection selection;
  for (const RemoteFile& candidate : model.files) {
    if (is_needed(candidate.path)) selection.small.push_back(&candidate);
  }
  for (const auto& [index, start, ending] :
       {std::tuple(kIndex, std::string_view("model"), std::string_view(".safetensors")),
        std::tuple(kTorchIndex, std::string_view("pytorch_model"), std::string_view(".bin"))}) {
    selection.index = model.find(index);
    if (selection.index) {
      selection.small.push_back(selection.index);
      return selection;
    }
    select_like(model, start, ending, selection);
    if (!selection.weights.empty()) return selection;
  }
  if (gguf_models(model).empty()) return no_weights(model);
  return select_gguf(model, "");
}

Status select_indexed(const RemoteModel& model, std::string_view index_text, Selection& selection) {
  const std::string& name = selection.index->path;
  const std::string_view ending = name == kIndex ? ".safetensors" : ".bin";
  auto index = formats::parse_shard_index(index_text, ending);
  if (!index) return std::move(index).error().at(name).at(model.repo);
  std::set<std::string> shards;
  for (const auto& [tensor, shard] : *index) shards.insert(shard);
  for (const std::string& shard : shards) {
    const RemoteFile* file = model.find(shard);
    if (!file) {
      return Error(Code::kInvalidInput,
                   fmt::format("names shard {}, which the repository lacks", base::quoted(shard)))
          .at(name)
          .at(model.repo);
    }
    selection.weights.push_back(file);
  }
  return {};
}

}  // namespace mlxmill::hub
