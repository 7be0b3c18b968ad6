#include "gguf/tokenizer_files.h"

#include <fmt/format.h>

#include <algorithm>

#include "base/quoted.h"
#include "formats/json.h"
#include "formats/unicode.h"
#include "gguf/tokenizer_json.h"
#include "gguf/vocabulary.h"

namespace mlxmill::gguf {
namespace {

using base::Value;

constexpr std::string_view kTemplate = "tokenizer.chat_template";

/// Tokens that end a turn. llama.cpp finds them by their text; a model that comes without them in
/// eos_token_id would go on talking.
constexpr std::string_view kTurnEnds[] = {"<|eot_id|>",
                                          "<|im_end|>",
                                          "<|end|>",
                                          "<end_of_turn>",
                                          "<|endoftext|>",
                                          "<|eom_id|>",
                                          "<|end_of_text|>",
                                          "<EOT>",
                                          "<|return|>",
                                          "<|call|>",
                                          "<|END_OF_TURN_TOKEN|>",
                                          "<turn|>"};

struct Template {
  std::string name;
  std::string text;
};

Result<std::vector<Template>> templates_of(const Value& metadata) {
  std::vector<Template> result;
  for (const base::Member& member : *metadata.as_object()) {
    const bool named = member.key.starts_with(fmt::format("{}.", kTemplate));
    if (member.key != kTemplate && !named) continue;
    const std::string* text = member.value.as_string();
    if (!text || !formats::is_utf8(*text)) {
      return Error(Code::kInvalidInput,
                   fmt::format("expected UTF-8 text, got {}",
                               text ? "other bytes" : member.value.type_name()))
          .at(fmt::format("metadata {}", base::quoted(member.key)));
    }
    result.push_back({named ? member.key.substr(kTemplate.size() + 1) : "default", *text});
  }
  return result;
}

void add_eos(TokenizerFiles& files, std::optional<std::int64_t> id) {
  if (!id || std::find(files.eos.begin(), files.eos.end(), *id) != files.eos.end()) return;
  files.eos.push_back(*id);
}

void find_ids(const Vocabulary& vocabulary, const std::vector<Template>& templates,
              TokenizerFiles& files) {
  files.bos = vocabulary.bos;
  files.pad = vocabulary.padding;
  add_eos(files, vocabulary.eos);
  add_eos(files, vocabulary.end_of_turn);
  add_eos(files, vocabulary.end_of_message);
  const TokenIndex index = index_of(vocabulary.tokens);
  const auto is_token = [&](std::string_view text) {
    const auto found = index.find(text);
    return found != index.end() && (vocabulary.types[found->second] == TokenType::kControl ||
                                    vocabulary.types[found->second] == TokenType::kUserDefined);
  };
  // In OpenAI's Harmony <|end|> ends a message, and the turn goes on.
  const bool is_harmony = is_token("<|return|>") && is_token("<|call|>");
  for (const std::string_view text : kTurnEnds) {
    if (!is_token(text) || (is_harmony && text == "<|end|>")) continue;
    const bool used = std::any_of(templates.begin(), templates.end(), [&](const Template& t) {
      return t.text.find(text) != std::string::npos;
    });
    if (used) add_eos(files, index.at(text));
  }
  if (is_harmony) {
    std::erase_if(files.eos, [&](std::int64_t id) {
      return vocabulary.tokens[static_cast<std::size_t>(id)] == "<|end|>";
    });
  }
}

Value tokenizer_config(const Value& metadata, std::string_view architecture,
                       const Vocabulary& vocabulary, const std::vector<Template>& templates) {
  Value config{base::Object()};
  // The class that takes tokenizer.json as it is; others build their own from its vocabulary.
  config.set("tokenizer_class", "PreTrainedTokenizerFast");
  const std::pair<const char*, std::optional<std::int64_t>> ids[] = {
      {"bos_token", vocabulary.bos},
      {"eos_token", vocabulary.eos},
      {"unk_token", vocabulary.model == "llama" ? std::optional(vocabulary.unknown.value_or(0))
                                                : vocabulary.unknown},
      {"pad_token", vocabulary.padding}};
  for (const auto& [name, id] : ids) {
    if (id) config.set(name, vocabulary.tokens[static_cast<std::size_t>(*id)]);
  }
  config.set("add_bos_token", vocabulary.add_bos.value_or(adds_bos_by_default(vocabulary)));
  config.set("add_eos_token", vocabulary.add_eos.value_or(false));
  config.set("clean_up_tokenization_spaces", false);
  const Value* length = metadata.find(fmt::format("{}.context_length", architecture));
  if (length && length->as_int()) config.set("model_max_length", *length);
  if (templates.size() == 1) config.set("chat_template", templates[0].text);
  if (templates.size() > 1) {
    base::Array list;
    for (const Template& one : templates) {
      list.emplace_back(base::Object{{"name", one.name}, {"template", one.text}});
    }
    config.set("chat_template", std::move(list));
  }
  return config;
}

/// Kinds whose merges no score tells.
bool needs_merges(const Vocabulary& vocabulary) {
  return vocabulary.model == "gpt2" || vocabulary.model == "gemma4";
}

/// The text of tokenizer.json; nothing for a kind that is not known, or known in part.
Result<std::optional<std::string>> tokenizer_text(const Value& metadata,
                                                  std::string_view architecture,
                                                  const Vocabulary& vocabulary) {
  if (const Value* whole = metadata.find("tokenizer.huggingface.json")) {
    const std::string* text = whole->as_string();
    if (!text || !formats::parse_json(*text)) {
      return Error(Code::kInvalidInput, "expected the text of a tokenizer.json")
          .at("metadata \"tokenizer.huggingface.json\"");
    }
    return std::optional<std::string>(*text);
  }
  if (needs_merges(vocabulary) && !vocabulary.has_merges) return std::optional<std::string>();
  if (vocabulary.model == "llama" || vocabulary.model == "gemma4") {
    MLXMILL_ASSIGN(const BpeTokenizer tokenizer, sentence_piece_bpe(vocabulary, architecture));
    return std::optional<std::string>(tokenizer_json(tokenizer));
  }
  if (vocabulary.model == "gpt2") {
    MLXMILL_ASSIGN(const std::optional<BpeTokenizer> tokenizer,
                   byte_level_bpe(vocabulary, architecture));
    if (tokenizer) return std::optional<std::string>(tokenizer_json(*tokenizer));
  }
  return std::optional<std::string>();
}

/// Why there is no tokenizer.json.
std::string reason(const Vocabulary& vocabulary) {
  if (needs_merges(vocabulary) && !vocabulary.has_merges) {
    return "the file has no tokenizer.ggml.merges";
  }
  const std::string pre =
      vocabulary.pre.empty() ? "" : fmt::format(" with pre {}", base::quoted(vocabulary.pre));
  return fmt::format("its kind is not known ({}{})", base::quoted(vocabulary.model), pre);
}

constexpr const char* kNoTokenizer =
    "no tokenizer was written: {}; copy tokenizer.json and tokenizer_config.json of the original "
    "model into the output";

}  // namespace

Result<TokenizerFiles> tokenizer_files(const Value& metadata, std::string_view architecture,
                                       std::int64_t rows) {
  TokenizerFiles result;
  MLXMILL_ASSIGN(const std::optional<Vocabulary> vocabulary, read_vocabulary(metadata));
  if (!vocabulary) {
    result.warnings.push_back(fmt::format(kNoTokenizer, "the file holds none"));
    return result;
  }
  std::size_t n_tokens = vocabulary->tokens.size();
  while (n_tokens > 0 && vocabulary->is_padding(n_tokens - 1)) --n_tokens;
  if (static_cast<std::uint64_t>(rows) < n_tokens) {
    return Error(Code::kInvalidInput,
                 fmt::format("there are {} tokens, but the embedding has {} rows", n_tokens, rows))
        .at("metadata \"tokenizer.ggml.tokens\"");
  }
  MLXMILL_ASSIGN(const std::vector<Template> templates, templates_of(metadata));
  find_ids(*vocabulary, templates, result);
  MLXMILL_ASSIGN(std::optional<std::string> text,
                 tokenizer_text(metadata, architecture, *vocabulary));
  if (text) {
    result.files.emplace_back("tokenizer.json", *std::move(text));
  } else {
    result.warnings.push_back(fmt::format(kNoTokenizer, reason(*vocabulary)));
  }
  result.files.emplace_back(
      "tokenizer_config.json",
      formats::dump_json(tokenizer_config(metadata, architecture, *vocabulary, templates),
                         {2, false}) +
          "\n");
  const auto main = std::find_if(templates.begin(), templates.end(),
                                 [](const Template& t) { return t.name == "default"; });
  if (main != templates.end()) result.files.emplace_back("chat_template.jinja", main->text);
  return result;
}

}  // namespace mlxmill::gguf
