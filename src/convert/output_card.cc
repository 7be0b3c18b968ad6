#include "convert/output_card.h"

#include <fmt/format.h>

#include <algorithm>
#include <filesystem>
#include <system_error>

#include "formats/model_card.h"
#include "io/file.h"
#include "io/free_space.h"
#include "mlxmill/version.h"

namespace mlxmill::convert {
namespace {

constexpr std::uint64_t kMaxCardBytes = 16 << 20;

std::string name_of(const std::filesystem::path& path) {
  std::error_code ignored;
  std::filesystem::path full = std::filesystem::absolute(path, ignored).lexically_normal();
  return full.has_filename() ? full.filename().string() : full.parent_path().filename().string();
}

/// The commit that a snapshot in the Hub's cache is of; "" elsewhere.
std::string revision_of(const std::filesystem::path& source) {
  std::error_code ignored;
  bool in_snapshots = false;
  for (const auto& part : std::filesystem::absolute(source, ignored)) {
    const std::string text = part.string();
    const bool commit =
        text.size() == 40 && text.find_first_not_of("0123456789abcdef") == std::string::npos;
    if (in_snapshots && commit) return text;
    in_snapshots = text == "snapshots";
  }
  return "";
}

/// What the card calls the original: the caller's word, the Hub cache's folder name, the config,
/// the folder's name.
std::string base_model_of(const ConvertOptions& options, const base::Value& config) {
  if (!options.base_model.empty()) return options.base_model;
  std::error_code ignored;
  for (const auto& part : std::filesystem::absolute(options.source, ignored)) {
    std::string text = part.string();
    if (text.rfind("models--", 0) != 0) continue;
    text.erase(0, 8);
    if (const std::size_t dashes = text.find("--"); dashes != std::string::npos)
      text.replace(dashes, 2, "/");
    return text;
  }
  if (const base::Value* name = config.find("_name_or_path"); name && name->as_string()) {
    const std::string& text = *name->as_string();
    const bool repository = std::count(text.begin(), text.end(), '/') == 1 && text.front() != '/' &&
                            text.back() != '/' && text.front() != '.';
    if (repository) return text;
  }
  return name_of(options.source);
}

/// A file's name says enough; its folder is of this machine.
std::string recipe_of(const Conversion& c) {
  return std::filesystem::path(c.options.recipe).filename().string();
}

}  // namespace

std::string output_card(const Conversion& c, const std::optional<Scheme>& scheme) {
  formats::CardFacts facts;
  facts.name = name_of(c.options.output);
  facts.base_model = base_model_of(c.options, c.checkpoint.config);
  if (c.options.base_model.empty() || c.options.base_model.find('/') != std::string::npos)
    facts.base_model_revision = revision_of(c.options.source);
  facts.made_with = fmt::format("mlxmill {}", version());
  facts.command = c.options.command;
  if (scheme)
    facts.facts.emplace_back("quantization",
                             c.options.recipe.empty() ? describe(*scheme) : recipe_of(c));
  if (scheme) facts.facts.emplace_back("codes", "as libmlx's CPU backend chooses them");
  facts.facts.emplace_back("bits per weight", fmt::format("{:.3f} (file bytes x 8 / parameters)",
                                                          c.plan.bits_per_weight));
  facts.facts.emplace_back("parameters", fmt::format("{}", c.plan.parameters));
  facts.facts.emplace_back("weights", io::format_bytes(c.plan.output_bytes));
  std::string source_card;
  if (Result<std::string> text = io::read_text(c.options.source / "README.md", kMaxCardBytes))
    source_card = *std::move(text);
  return formats::make_model_card(facts, source_card);
}

}  // namespace mlxmill::convert
