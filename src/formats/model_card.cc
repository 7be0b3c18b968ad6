#include "formats/model_card.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>

#include "formats/front_matter.h"

namespace mlxmill::formats {
namespace {

// Replaced below, or true of the source alone (its relation to its own base, who quantized it, its
// benchmark results), or the names of arguments of huggingface_hub's ModelCardData that are no
// metadata.
constexpr std::array<std::string_view, 11> kNotKept = {
    "library_name",          "pipeline_tag", "base_model",   "tags", "base_model_relation",
    "quantized_by",          "model-index",  "eval_results", "self", "base_model_revision",
    "ignore_metadata_errors"};

// A name the Hub can resolve: "owner/name", or "name" of its early days.
bool is_hub_name(std::string_view name) {
  const auto is_word = [](std::string_view word) {
    return !word.empty() && std::all_of(word.begin(), word.end(), [](char c) {
      return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
             c == '_' || c == '-' || c == '.';
    }) && word.find_first_not_of('.') != std::string_view::npos;
  };
  const std::size_t slash = name.find('/');
  if (slash == std::string_view::npos) return is_word(name);
  return is_word(name.substr(0, slash)) && is_word(name.substr(slash + 1));
}

std::string front_matter(const CardFacts& facts, std::string_view source_card) {
  std::string text = "---\n";
  std::vector<std::string> tags;
  std::string base_model;
  for (const FrontMatterBlock& block : parse_front_matter(source_card)) {
    if (block.key == "tags") tags = list_items(block);
    if (block.key == "base_model") base_model = block.text;
    if (std::find(kNotKept.begin(), kNotKept.end(), block.key) == kNotKept.end()) {
      text += block.text;
    }
  }
  if (facts.base_model && is_hub_name(*facts.base_model)) {
    base_model = fmt::format("base_model: {}\n", yaml_string(*facts.base_model));
    if (!facts.base_model_revision.empty())
      base_model += fmt::format("base_model_revision: {}\n", facts.base_model_revision);
  }
  text += base_model;
  text += "library_name: mlx\npipeline_tag: text-generation\ntags:\n";
  if (std::find(tags.begin(), tags.end(), "mlx") == tags.end()) tags.push_back("mlx");
  for (const std::string& tag : tags) text += fmt::format("- {}\n", yaml_string(tag));
  return text + "---\n";
}

// Text that stays what it is in a heading, a sentence or a table cell.
std::string inline_text(std::string_view text) {
  constexpr std::string_view kSpecial = "\\`*_{}[]<>|#";
  std::string escaped;
  for (const char c : text) {
    if (static_cast<unsigned char>(c) < 0x20 || c == 0x7F) {
      escaped += ' ';
      continue;
    }
    // Underscores inside words mean nothing, and names are full of them.
    if (c != '_' && c != '#' && kSpecial.find(c) != std::string_view::npos) escaped += '\\';
    escaped += c;
  }
  return escaped;
}

// A fenced block whose fence is longer than any run of backticks inside.
std::string code_block(std::string_view language, std::string_view code) {
  std::size_t longest = 2;
  std::size_t run = 0;
  for (const char c : code) {
    run = c == '`' ? run + 1 : 0;
    longest = std::max(longest, run);
  }
  const std::string fence(longest + 1, '`');
  return fmt::format("{0}{1}\n{2}\n{0}\n", fence, language, code);
}

std::string shell_word(std::string_view text) {
  const bool plain = !text.empty() && std::all_of(text.begin(), text.end(), [](char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
           std::string_view("_-./+").find(c) != std::string_view::npos;
  });
  if (plain && text[0] != '-') return std::string(text);
  std::string quoted = "'";
  for (const char c : text) {
    if (c == '\'') {
      quoted += "'\\''";
    } else {
      quoted += static_cast<unsigned char>(c) < 0x20 ? ' ' : c;
    }
  }
  return quoted + "'";
}

std::string python_string(std::string_view text) {
  std::string quoted = "\"";
  for (const char c : text) {
    if (c == '"' || c == '\\') quoted += '\\';
    quoted += static_cast<unsigned char>(c) < 0x20 ? ' ' : c;
  }
  return quoted + "\"";
}

std::string facts_table(const CardFacts& facts) {
  if (facts.facts.empty()) return {};
  std::string text = "## Facts\n\n| what | value |\n| --- | --- |\n";
  for (const auto& [name, value] : facts.facts) {
    text += fmt::format("| {} | {} |\n", inline_text(name), inline_text(value));
  }
  return text + "\n";
}

std::string usage(const CardFacts& facts) {
  std::string text = "## Use\n\n";
  text += code_block(
      "bash", fmt::format("pip install mlx-lm\nmlx_lm.generate --model {} --prompt \"Hello\"",
                          shell_word(facts.name)));
  text += '\n';
  text += code_block("python",
                     fmt::format("from mlx_lm import generate, load\n\n"
                                 "model, tokenizer = load({})\n"
                                 "prompt = \"Hello\"\n"
                                 "if tokenizer.chat_template is not None:\n"
                                 "    messages = [{{\"role\": \"user\", \"content\": prompt}}]\n"
                                 "    prompt = tokenizer.apply_chat_template(messages, "
                                 "add_generation_prompt=True)\n"
                                 "print(generate(model, tokenizer, prompt=prompt))",
                                 python_string(facts.name)));
  return text;
}

std::string body(const CardFacts& facts) {
  std::string text = fmt::format("# {}\n\n", inline_text(facts.name));
  std::string source = "a local model";
  if (facts.base_model) {
    const std::string& name = *facts.base_model;
    // Only owner/name is an address; a bare word is as likely a local folder.
    const bool linked = is_hub_name(name) && name.find('/') != std::string::npos;
    source = linked ? fmt::format("[{0}](https://huggingface.co/{0})", name) : inline_text(name);
  }
  text +=
      fmt::format("An MLX model made from {} with {}:\n\n", source, inline_text(facts.made_with));
  text += code_block("bash", facts.command) + "\n";
  return text + facts_table(facts) + usage(facts);
}

struct Section {
  std::size_t begin = 0;  ///< Of its heading.
  std::string_view title;
};

/// Headings of the second level outside blocks of code.
std::vector<Section> sections_of(std::string_view card) {
  std::vector<Section> sections;
  std::string_view fence;
  for (std::size_t begin = 0; begin < card.size();) {
    const std::size_t end = std::min(card.find('\n', begin), card.size());
    std::string_view line = card.substr(begin, end - begin);
    while (!line.empty() && (line.back() == '\r' || line.back() == ' ')) line.remove_suffix(1);
    const std::size_t ticks = std::min(line.find_first_not_of('`'), line.size());
    if (!fence.empty()) {
      if (ticks >= fence.size() && ticks == line.size()) fence = {};
    } else if (ticks >= 3) {
      fence = line.substr(0, ticks);
    } else if (line.starts_with("## ")) {
      sections.push_back({begin, line});
    }
    begin = end + 1;
  }
  return sections;
}

}  // namespace

std::string make_model_card(const CardFacts& facts, std::string_view source_card) {
  return front_matter(facts, source_card) + "\n" + body(facts);
}

std::string with_card_section(std::string_view card, std::string_view heading,
                              std::string_view body) {
  const std::string title = fmt::format("## {}", heading);
  const std::string section = fmt::format("{}\n\n{}\n", title, body);
  const std::vector<Section> sections = sections_of(card);
  std::size_t use = card.size();
  for (std::size_t i = 0; i < sections.size(); ++i) {
    if (sections[i].title == "## Use") use = sections[i].begin;
    if (sections[i].title != title) continue;
    const std::size_t end = i + 1 < sections.size() ? sections[i + 1].begin : card.size();
    return std::string(card.substr(0, sections[i].begin)) + section + std::string(card.substr(end));
  }
  std::string text(card.substr(0, use));
  if (!text.empty() && text.back() != '\n') text += '\n';
  if (!text.empty() && !text.ends_with("\n\n")) text += '\n';
  return text + section + std::string(card.substr(use));
}

std::optional<std::string> card_scalar(std::string_view card, std::string_view key) {
  for (const FrontMatterBlock& block : parse_front_matter(card)) {
    if (block.key == key) return scalar_of(block);
  }
  return std::nullopt;
}

}  // namespace mlxmill::formats
