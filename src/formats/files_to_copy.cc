#include <algorithm>
#include <array>
#include <system_error>

#include "base/ascii.h"
#include "formats/checkpoint.h"
#include "formats/model_folder.h"

namespace mlxmill::formats {
namespace {

namespace fs = std::filesystem;

// transformers keeps the templates beside the default one here; every other folder of a repository
// holds another format's weights, pictures or caches.
constexpr std::string_view kTemplates = "additional_chat_templates";

template <std::size_t N>
bool starts_with_any(std::string_view text, const std::array<std::string_view, N>& starts) {
  return std::any_of(starts.begin(), starts.end(),
                     [&](std::string_view start) { return text.starts_with(start); });
}

template <std::size_t N>
bool ends_with_any(std::string_view text, const std::array<std::string_view, N>& endings) {
  return std::any_of(endings.begin(), endings.end(),
                     [&](std::string_view ending) { return text.ends_with(ending); });
}

// Terms travel with the model whatever they are called: LICENSE.md, MODEL_LICENSE, USE_POLICY.md,
// ...
bool is_terms(std::string_view lower) {
  static constexpr std::array<std::string_view, 6> kWords = {"license", "licence",    "copying",
                                                             "notice",  "use_policy", "use-policy"};
  static constexpr std::array<std::string_view, 5> kEndings = {".txt", ".md", ".pdf", ".rst",
                                                               ".html"};
  const bool named = std::any_of(kWords.begin(), kWords.end(), [&](std::string_view word) {
    return lower.find(word) != std::string_view::npos;
  });
  return named && (lower.find('.') == std::string_view::npos || ends_with_any(lower, kEndings));
}

// The name is in lower case.
bool is_copied(std::string_view lower) {
  static constexpr std::array<std::string_view, 11> kEndings = {
      ".json",  ".jsonl", ".txt",   ".jinja", ".py", ".tiktoken",
      ".model", ".bpe",   ".vocab", ".spm",   ".tok"};
  // Configuration of what is not copied: weights, their former quantization, the training, other
  // programs' layouts.
  static constexpr std::array<std::string_view, 13> kNever = {
      "config.json",        "quantize_config.json", "quant_config.json", "hf_quant_config.json",
      "params.json",        "adapter_config.json",  "model_index.json",  "trainer_state.json",
      "training_args.json", "all_results.json",     "eval_results.json", "train_results.json",
      "requirements.txt"};
  static constexpr std::array<std::string_view, 6> kNeverStarts = {
      "optimizer", "scheduler", "rng_state", "events.", "pytorch_model", "mlxmill"};
  if (lower.starts_with('.')) return false;
  if (is_terms(lower)) return true;
  if (lower.ends_with(".index.json")) return false;
  if (std::find(kNever.begin(), kNever.end(), lower) != kNever.end()) return false;
  if (starts_with_any(lower, kNeverStarts)) return false;
  // Mistral: tokenizer.model.v3.
  return ends_with_any(lower, kEndings) || lower.starts_with("tokenizer.model");
}

Status add_templates(const ModelFolder& folder, std::vector<std::string>& names) {
  std::error_code failure;
  const fs::path templates = folder.path() / kTemplates;
  if (fs::symlink_status(templates, failure).type() != fs::file_type::directory) return {};
  fs::recursive_directory_iterator entry(templates, failure);
  const fs::recursive_directory_iterator end;
  for (; !failure && entry != end; entry.increment(failure)) {
    const std::string name = entry->path().filename().string();
    if (entry->is_directory(failure)) {
      // A link to a folder is not entered; a hidden folder, or one this deep, is no part of the
      // format.
      if (name.starts_with('.') || entry.depth() >= 4) entry.disable_recursion_pending();
    } else if (is_copied(base::lower_ascii(name))) {
      names.push_back(entry->path().lexically_relative(folder.path()).generic_string());
    }
  }
  if (failure) return io::system_error(failure.value(), "cannot list", templates);
  return {};
}

}  // namespace

bool is_copied_file(std::string_view path) {
  const std::size_t slash = path.rfind('/');
  if (slash != std::string_view::npos) {
    const std::string_view folder = path.substr(0, slash);
    if (folder != kTemplates && !folder.starts_with(std::string(kTemplates) + "/")) return false;
    path.remove_prefix(slash + 1);
  }
  return is_copied(base::lower_ascii(path));
}

Result<std::vector<std::string>> files_to_copy(const fs::path& path) {
  MLXMILL_ASSIGN(const ModelFolder folder, ModelFolder::open(path));
  std::vector<std::string> names;
  for (const std::string& name : folder.names()) {
    if (is_copied(base::lower_ascii(name))) names.push_back(name);
  }
  MLXMILL_TRY(add_templates(folder, names));
  for (const std::string& name : names) MLXMILL_TRY(folder.find(name));
  std::sort(names.begin(), names.end());
  return names;
}

}  // namespace mlxmill::formats
