#include "gguf/import.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <optional>

#include "architectures/declaration.h"
#include "base/checked_math.h"
#include "base/quoted.h"
#include "formats/json.h"
#include "gguf/built_in.h"
#include "gguf/settings.h"
#include "gguf/tokenizer_files.h"

namespace mlxmill::gguf {
namespace {

using architectures::Declaration;
using tensors::TensorView;

// What all architectures share: rules before and behind those of their own.
constexpr std::string_view kFirst = "first.toml";
constexpr std::string_view kCommon = "common.toml";

bool is_shared(const BuiltInFile& file) { return file.name == kFirst || file.name == kCommon; }

Result<Declaration> parse(const BuiltInFile& file) {
  return Declaration::parse(file.text, file.name);
}

/// The declaration that serves an architecture.
Result<Declaration> family_of(const std::string& architecture) {
  const std::string quoted_name = '"' + architecture + '"';
  for (const BuiltInFile& file : built_in_files()) {
    // A file cannot serve an architecture that it does not name.
    if (is_shared(file) || file.text.find(quoted_name) == std::string_view::npos) continue;
    MLXMILL_ASSIGN(Declaration declaration, parse(file));
    const auto& served = declaration.model_types();
    if (std::find(served.begin(), served.end(), architecture) != served.end()) return declaration;
  }
  return Error(Code::kUnsupported,
               fmt::format("the architecture {} is not known; known are {}",
                           base::quoted(architecture), fmt::join(importable_architectures(), ", ")))
      .at("metadata \"general.architecture\"");
}

Result<Declaration> shared_family(std::string_view name) {
  for (const BuiltInFile& file : built_in_files()) {
    if (file.name == name) return parse(file);
  }
  return Error(Code::kInternal, fmt::format("{} is not built in", name));
}

void edit(base::Value& config, const std::vector<architectures::ConfigEdit>& edits) {
  for (const architectures::ConfigEdit& one : edits) {
    if (one.value) {
      set_path(config, one.path, *one.value);
    } else if (one.path.size() == 1) {
      config.erase(one.path[0]);
    }
  }
}

/// The type of most weights. Vectors are always F32 and say nothing; weights that are decoded to
/// F32 came from blocks of less than 16 bits.
std::optional<DType> main_dtype(const formats::GgufModel& model,
                                const std::vector<TensorView>& views) {
  std::array<std::uint64_t, 3> elements{};
  constexpr std::array kTypes = {DType::kF32, DType::kF16, DType::kBF16};
  for (std::size_t i = 0; i < views.size(); ++i) {
    if (views[i].shape.size() < 2) continue;
    const bool stored_wide = model.tensors[i].tensor.type == base::GgmlType::kF32;
    const DType dtype =
        views[i].dtype == DType::kF32 && !stored_wide ? DType::kBF16 : views[i].dtype;
    for (std::size_t k = 0; k < kTypes.size(); ++k) {
      if (kTypes[k] == dtype) elements[k] += model.tensors[i].tensor.elements;
    }
  }
  const auto most = std::max_element(elements.begin(), elements.end());
  if (*most == 0) return std::nullopt;
  return kTypes[static_cast<std::size_t>(most - elements.begin())];
}

/// Where a model has its language model's settings in an object of their own, which a family makes
/// by setting one of its keys, the others belong there too.
base::Value nested(base::Value config) {
  const base::Value* inner = config.find("text_config");
  if (!inner || !inner->as_object()) return config;
  base::Value result{base::Object()};
  base::Value text = *inner;
  for (const base::Member& member : *config.as_object()) {
    const bool outer = member.key == "architectures" || member.key == "model_type";
    if (outer || member.key == "tie_word_embeddings") result.set(member.key, member.value);
    if (!outer && member.key != "text_config") text.set(member.key, member.value);
  }
  result.set("text_config", std::move(text));
  return result;
}

/// Token ids as config.json and generation_config.json have them.
base::Value with_token_ids(base::Value config, const TokenizerFiles& tokenizer) {
  if (tokenizer.bos) config.set("bos_token_id", *tokenizer.bos);
  if (tokenizer.eos.size() == 1) config.set("eos_token_id", tokenizer.eos[0]);
  if (tokenizer.eos.size() > 1) {
    config.set("eos_token_id", base::Array(tokenizer.eos.begin(), tokenizer.eos.end()));
  }
  if (tokenizer.pad) config.set("pad_token_id", *tokenizer.pad);
  return config;
}

/// Rows of the embedding: how many tokens the model knows.
Result<std::int64_t> vocabulary_rows(const std::vector<TensorView>& views) {
  for (const TensorView& view : views) {
    if (view.name == "token_embd.weight" && view.shape.size() == 2) return view.shape[0];
  }
  return Error(Code::kInvalidInput, "there is no tensor \"token_embd.weight\" of two axes")
      .hint("a vision projector or a LoRA file is no model of its own");
}

/// The 'texts' in the expression of a key, which are all that it can become.
std::vector<std::string> texts_of_key(std::string_view file, std::string_view key) {
  std::vector<std::string> result;
  const std::size_t begin = file.find(key);
  if (begin == std::string_view::npos) return result;
  const std::size_t end = file.find('\n', begin);
  std::string_view line = file.substr(begin, end - begin);
  for (std::size_t at = line.find('\''); at != std::string_view::npos; at = line.find('\'')) {
    line.remove_prefix(at + 1);
    const std::size_t close = std::min(line.find('\''), line.size());
    result.emplace_back(line.substr(0, close));
    line.remove_prefix(std::min(close + 1, line.size()));
  }
  return result;
}

/// Files that hold something else than a language model.
Status check_kind(const base::Value& metadata, std::string_view architecture) {
  const base::Value* value = metadata.find("general.type");
  const std::string* type = value ? value->as_string() : nullptr;
  const auto refused = [](std::string what) {
    return Error(Code::kUnsupported, fmt::format("the file holds {}, no language model", what))
        .at("metadata \"general.architecture\"")
        .hint("give the file of the language model");
  };
  if (architecture == "clip" || (type && *type == "mmproj"))
    return refused("an encoder of images or sound (mmproj)");
  if (type && *type == "adapter") return refused("a LoRA adapter");
  if (type && *type == "vocab") return refused("a vocabulary");
  if (architecture == "imatrix" || (type && *type == "imatrix")) return refused("an imatrix");
  return {};
}

}  // namespace

std::vector<Importable> importable_models() {
  std::vector<Importable> result;
  for (const BuiltInFile& file : built_in_files()) {
    if (is_shared(file)) continue;
    const auto declaration = parse(file);
    if (!declaration) continue;
    const std::vector<std::string> types = texts_of_key(file.text, "\"model_type\" = ");
    for (const std::string& architecture : declaration->model_types())
      result.push_back({architecture, types});
  }
  std::sort(result.begin(), result.end(), [](const Importable& a, const Importable& b) {
    return a.architecture < b.architecture;
  });
  return result;
}

std::vector<std::string> importable_architectures() {
  std::vector<std::string> names;
  for (Importable& model : importable_models()) names.push_back(std::move(model.architecture));
  return names;
}

Result<ImportedModel> import_gguf(const formats::GgufModel& model, std::vector<TensorView> views) {
  if (views.size() != model.tensors.size()) {
    return Error(Code::kInternal, fmt::format("{} views of {} tensors of a GGUF file", views.size(),
                                              model.tensors.size()));
  }
  MLXMILL_ASSIGN(const std::string architecture, architecture_of(model.metadata()));
  MLXMILL_TRY(check_kind(model.metadata(), architecture));
  MLXMILL_ASSIGN(const Declaration family, family_of(architecture));
  MLXMILL_ASSIGN(const Declaration first, shared_family(kFirst));
  MLXMILL_ASSIGN(const Declaration common, shared_family(kCommon));
  MLXMILL_ASSIGN(const std::int64_t rows, vocabulary_rows(views));
  MLXMILL_ASSIGN(const base::Value settings, settings_of(model, architecture, views));
  MLXMILL_ASSIGN(TokenizerFiles tokenizer, tokenizer_files(model.metadata(), architecture, rows));

  ImportedModel result;
  result.config = base::Value(base::Object());
  // First, as people look for it there.
  result.config.set("architectures", base::Value());
  result.config.set("model_type", base::Value());
  MLXMILL_ASSIGN(const auto shared, common.edits(settings, views));
  MLXMILL_ASSIGN(const auto own, family.edits(settings, views));
  edit(result.config, shared);
  edit(result.config, own);
  result.config = nested(std::move(result.config));
  if (result.config.find("architectures")->is_null()) result.config.erase("architectures");
  result.config = with_token_ids(std::move(result.config), tokenizer);
  if (const auto dtype = main_dtype(model, views)) {
    result.config.set("torch_dtype", torch_dtype_name(*dtype));
  }
  const base::Value generation = with_token_ids(base::Value(base::Object()), tokenizer);
  if (!generation.as_object()->empty()) {
    tokenizer.files.emplace_back("generation_config.json",
                                 formats::dump_json(generation, {2, false}) + "\n");
  }
  MLXMILL_ASSIGN(views, first.rewrite(settings, views));
  MLXMILL_ASSIGN(views, family.rewrite(settings, views));
  MLXMILL_ASSIGN(result.tensors, common.rewrite(settings, views));
  result.files = std::move(tokenizer.files);
  result.warnings = std::move(tokenizer.warnings);
  return result;
}

}  // namespace mlxmill::gguf
