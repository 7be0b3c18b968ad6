#include "gguf/vocabulary.h"

#include <fmt/format.h>

#include <cmath>

#include "base/quoted.h"
#include "formats/unicode.h"

namespace mlxmill::gguf {
namespace {

using base::Value;

Error at_key(std::string_view key, std::string what) {
  return Error(Code::kInvalidInput, std::move(what))
      .at(fmt::format("metadata {}", base::quoted(std::string(key))));
}

/// A list of the metadata; null when it is not there.
Result<const base::Array*> list_of(const Value& metadata, std::string_view key) {
  const Value* value = metadata.find(key);
  if (!value) return static_cast<const base::Array*>(nullptr);
  if (value->as_array()) return value->as_array();
  return at_key(key, fmt::format("expected a list, got {}", value->type_name()));
}

Result<std::vector<std::string_view>> texts(const Value& metadata, std::string_view key) {
  std::vector<std::string_view> result;
  MLXMILL_ASSIGN(const base::Array* list, list_of(metadata, key));
  if (!list) return result;
  result.reserve(list->size());
  for (const Value& item : *list) {
    const std::string* text = item.as_string();
    if (!text) return at_key(key, fmt::format("expected texts, got {}", item.type_name()));
    if (!formats::is_utf8(*text)) {
      return at_key(key, fmt::format("number {} is {}, which is no UTF-8", result.size(),
                                     base::quoted(*text)));
    }
    result.push_back(*text);
  }
  return result;
}

Result<std::string_view> text(const Value& metadata, std::string_view key) {
  const Value* value = metadata.find(key);
  if (!value) return std::string_view();
  if (value->as_string()) return std::string_view(*value->as_string());
  return at_key(key, fmt::format("expected a text, got {}", value->type_name()));
}

Result<std::optional<bool>> flag(const Value& metadata, std::string_view key) {
  const Value* value = metadata.find(key);
  if (!value) return std::optional<bool>();
  if (value->as_bool()) return std::optional<bool>(*value->as_bool());
  return at_key(key, fmt::format("expected a boolean, got {}", value->type_name()));
}

/// The lists that go with the tokens must have an entry for each of them.
Status check_length(std::string_view key, std::size_t got, std::size_t expected) {
  if (got == expected) return {};
  return at_key(
      key, fmt::format("it has {} entries; expected one for each of {} tokens", got, expected));
}

Status read_types(const Value& metadata, Vocabulary& vocabulary) {
  constexpr std::string_view kKey = "tokenizer.ggml.token_type";
  vocabulary.types.assign(vocabulary.tokens.size(), TokenType::kNormal);
  MLXMILL_ASSIGN(const base::Array* list, list_of(metadata, kKey));
  if (!list) return {};
  MLXMILL_TRY(check_length(kKey, list->size(), vocabulary.tokens.size()));
  for (std::size_t i = 0; i < list->size(); ++i) {
    const std::int64_t* type = (*list)[i].as_int();
    if (!type || *type < 0 || *type > 6) {
      return at_key(kKey, fmt::format("token {} is of no known type; expected 0 to 6", i));
    }
    // 0 is undefined: no writer of llama.cpp makes it, and it reads it as a normal token.
    if (*type > 0) vocabulary.types[i] = static_cast<TokenType>(*type);
  }
  return {};
}

Status read_scores(const Value& metadata, Vocabulary& vocabulary) {
  constexpr std::string_view kKey = "tokenizer.ggml.scores";
  MLXMILL_ASSIGN(const base::Array* list, list_of(metadata, kKey));
  if (!list) return {};
  MLXMILL_TRY(check_length(kKey, list->size(), vocabulary.tokens.size()));
  vocabulary.scores.reserve(list->size());
  for (const Value& item : *list) {
    const double* score = item.as_float();
    if (!score || std::isnan(*score)) {
      return at_key(kKey,
                    fmt::format("the score of token {} is no number", vocabulary.scores.size()));
    }
    vocabulary.scores.push_back(static_cast<float>(*score));
  }
  return {};
}

Status read_ids(const Value& metadata, Vocabulary& vocabulary) {
  const std::pair<std::string_view, std::optional<std::int64_t>*> ids[] = {
      {"bos_token_id", &vocabulary.bos},         {"eos_token_id", &vocabulary.eos},
      {"unknown_token_id", &vocabulary.unknown}, {"padding_token_id", &vocabulary.padding},
      {"eot_token_id", &vocabulary.end_of_turn}, {"eom_token_id", &vocabulary.end_of_message}};
  for (const auto& [name, id] : ids) {
    const std::string key = fmt::format("tokenizer.ggml.{}", name);
    const Value* value = metadata.find(key);
    if (!value) continue;
    if (!value->as_int()) {
      return at_key(key, fmt::format("expected an integer, got {}", value->type_name()));
    }
    // How some writers say that there is none.
    if (*value->as_int() == -1 || *value->as_int() == 0xFFFFFFFF) continue;
    const auto n = static_cast<std::int64_t>(vocabulary.tokens.size());
    if (*value->as_int() < 0 || *value->as_int() >= n) {
      return at_key(key, fmt::format("it is {}; there are {} tokens", *value->as_int(), n));
    }
    *id = *value->as_int();
  }
  return {};
}

}  // namespace

bool Vocabulary::is_padding(std::size_t id) const {
  return types[id] == TokenType::kUnused && tokens[id] == fmt::format("[PAD{}]", id);
}

Result<std::optional<Vocabulary>> read_vocabulary(const Value& metadata) {
  Vocabulary result;
  MLXMILL_ASSIGN(result.model, text(metadata, "tokenizer.ggml.model"));
  MLXMILL_ASSIGN(result.pre, text(metadata, "tokenizer.ggml.pre"));
  if (result.model.empty() || !metadata.find("tokenizer.ggml.tokens")) {
    return std::optional<Vocabulary>();
  }
  MLXMILL_ASSIGN(result.tokens, texts(metadata, "tokenizer.ggml.tokens"));
  if (result.tokens.empty()) return at_key("tokenizer.ggml.tokens", "there are no tokens");
  MLXMILL_ASSIGN(result.merges, texts(metadata, "tokenizer.ggml.merges"));
  result.has_merges = metadata.find("tokenizer.ggml.merges") != nullptr;
  MLXMILL_TRY(read_types(metadata, result));
  MLXMILL_TRY(read_scores(metadata, result));
  MLXMILL_TRY(read_ids(metadata, result));
  MLXMILL_ASSIGN(result.add_bos, flag(metadata, "tokenizer.ggml.add_bos_token"));
  MLXMILL_ASSIGN(result.add_eos, flag(metadata, "tokenizer.ggml.add_eos_token"));
  MLXMILL_ASSIGN(result.add_space_prefix, flag(metadata, "tokenizer.ggml.add_space_prefix"));
  return std::optional<Vocabulary>(std::move(result));
}

}  // namespace mlxmill::gguf
