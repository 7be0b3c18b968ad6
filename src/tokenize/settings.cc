// Follows PreTrainedTokenizerBase._from_pretrained of transformers 5.
#include "tokenize/settings.h"

#include <fmt/format.h>

#include <algorithm>

#include "base/quoted.h"
#include "formats/json.h"

namespace mlxmill::tokenize {
namespace {

using base::Value;

constexpr std::uint64_t kMaxSettingsBytes = std::uint64_t{64} << 20;
constexpr std::string_view kConfig = "tokenizer_config.json";
constexpr std::string_view kMap = "special_tokens_map.json";
constexpr std::string_view kAdded = "added_tokens.json";

/// The tokens that every tokenizer may name.
constexpr std::string_view kNamed[] = {"bos_token", "eos_token", "unk_token", "sep_token",
                                       "pad_token", "cls_token", "mask_token"};

Error wrong(std::string_view file, std::string_view key, std::string_view expected,
            const Value& got) {
  return Error(Code::kInvalidInput,
               fmt::format("{} is {}; expected {}", base::quoted(key), got.type_name(), expected))
      .at(file);
}

bool flag(const Value& object, std::string_view key) {
  const Value* value = object.find(key);
  return value && value->as_bool() && *value->as_bool();
}

Result<AddedToken> added_token(const Value& value, std::string_view file, std::string_view key) {
  AddedToken token;
  if (const std::string* text = value.as_string()) {
    token.content = *text;
    token.special = true;
    return token;
  }
  const Value* content = value.find("content");
  if (!content || !content->as_string()) {
    return wrong(file, key, "a token: a string, or an object with \"content\"", value);
  }
  token.content = *content->as_string();
  token.single_word = flag(value, "single_word");
  token.lstrip = flag(value, "lstrip");
  token.rstrip = flag(value, "rstrip");
  token.special = flag(value, "special");
  const Value* normalized = value.find("normalized");
  if (normalized && normalized->as_bool()) token.normalized = *normalized->as_bool();
  return token;
}

/// "bos_token": "<s>" and the like of one file.
Status read_named(const Value& object, std::string_view file, Settings& to) {
  if (!object.as_object()) return {};
  for (const base::Member& member : *object.as_object()) {
    const bool known =
        std::find(std::begin(kNamed), std::end(kNamed), member.key) != std::end(kNamed);
    const bool is_text = member.value.as_string() || member.value.find("content");
    if (member.value.is_null() || (!known && !(member.key.ends_with("_token") && is_text)))
      continue;
    MLXMILL_ASSIGN(AddedToken token, added_token(member.value, file, member.key));
    const auto found = std::find_if(to.named.begin(), to.named.end(),
                                    [&](const auto& pair) { return pair.first == member.key; });
    if (found == to.named.end()) {
      to.named.emplace_back(member.key, token.content);
    } else {
      found->second = token.content;
    }
    token.special = true;
    token.only_if_absent = true;
    to.added.push_back(std::move(token));
  }
  return {};
}

Status read_extra(const Value& object, std::string_view file, Settings& to) {
  for (const std::string_view key : {"additional_special_tokens", "extra_special_tokens"}) {
    const Value* list = object.find(key);
    if (!list || list->is_null()) continue;
    const auto add = [&](const Value& value) -> Status {
      MLXMILL_ASSIGN(AddedToken token, added_token(value, file, key));
      token.special = true;
      token.only_if_absent = true;
      to.added.push_back(std::move(token));
      return {};
    };
    if (list->as_object()) {
      for (const base::Member& member : *list->as_object()) {
        MLXMILL_TRY(add(member.value));
        to.named.emplace_back(member.key, to.added.back().content);
      }
    } else if (list->as_array()) {
      for (const Value& value : *list->as_array()) MLXMILL_TRY(add(value));
    } else {
      return wrong(file, key, "a list", *list);
    }
  }
  return {};
}

/// {"32000": {"content": ...}} of tokenizer_config.json, by id.
Result<std::vector<AddedToken>> read_decoder(const Value& decoder) {
  std::vector<AddedToken> tokens;
  if (!decoder.as_object()) return wrong(kConfig, "added_tokens_decoder", "an object", decoder);
  for (const base::Member& member : *decoder.as_object()) {
    const std::string key = "added_tokens_decoder." + member.key;
    const std::string& digits = member.key;
    if (digits.empty() || digits.size() > 9 ||
        digits.find_first_not_of("0123456789") != std::string::npos || !member.value.as_object()) {
      return wrong(kConfig, key, "a token by its id", member.value);
    }
    MLXMILL_ASSIGN(AddedToken token, added_token(member.value, kConfig, key));
    token.id = std::stoll(digits);
    tokens.push_back(std::move(token));
  }
  std::stable_sort(tokens.begin(), tokens.end(),
                   [](const AddedToken& a, const AddedToken& b) { return *a.id < *b.id; });
  return tokens;
}

/// {"<think>": 32000} of added_tokens.json, by id.
Result<std::vector<AddedToken>> read_added_file(const Value& object) {
  std::vector<AddedToken> tokens;
  if (!object.as_object()) return tokens;
  for (const base::Member& member : *object.as_object()) {
    const std::int64_t* id = member.value.as_int();
    if (!id) return wrong(kAdded, member.key, "an id", member.value);
    AddedToken token;
    token.content = member.key;
    token.id = *id;
    tokens.push_back(std::move(token));
  }
  std::stable_sort(tokens.begin(), tokens.end(),
                   [](const AddedToken& a, const AddedToken& b) { return *a.id < *b.id; });
  return tokens;
}

void read_flags(const Value& config, Settings& to) {
  const auto set = [&](std::string_view key, bool& value) {
    if (config.find(key)) value = flag(config, key);
  };
  set("add_bos_token", to.add_bos);
  set("add_eos_token", to.add_eos);
  set("clean_up_tokenization_spaces", to.clean_up_spaces);
  set("clean_up_tokenization_spaces_for_bpe_even_though_it_will_corrupt_output",
      to.clean_up_spaces_of_bpe);
  to.legacy_given = config.find("legacy") != nullptr;
  if (to.legacy_given) to.legacy = flag(config, "legacy");
  const Value* prefix = config.find("add_prefix_space");
  if (prefix && prefix->as_bool()) to.add_prefix_space = *prefix->as_bool();
  const Value* name = config.find("tokenizer_class");
  if (name && name->as_string()) to.tokenizer_class = *name->as_string();
}

/// One id or a list of them; anything else is none.
std::vector<std::int64_t> ids_of(const Value* value) {
  std::vector<std::int64_t> ids;
  if (value && value->as_int()) ids.push_back(*value->as_int());
  if (value && value->as_array()) {
    for (const Value& one : *value->as_array()) {
      if (one.as_int()) ids.push_back(*one.as_int());
    }
  }
  return ids;
}

Status read_model_config(const formats::ModelFolder& folder, Settings& to) {
  MLXMILL_ASSIGN(const Value config, read_object(folder, "config.json"));
  MLXMILL_ASSIGN(const Value generation, read_object(folder, "generation_config.json"));
  const Value* text = config.find("text_config");
  const auto find = [&](std::string_view key) -> const Value* {
    const Value* value = config.find(key);
    return value && !value->is_null() ? value : (text ? text->find(key) : nullptr);
  };
  if (const Value* type = config.find("model_type"); type && type->as_string()) {
    to.model_type = *type->as_string();
  }
  const Value* name = config.find("tokenizer_class");
  if (to.tokenizer_class.empty() && name && name->as_string())
    to.tokenizer_class = *name->as_string();
  to.eos_ids = ids_of(generation.find("eos_token_id"));
  if (to.eos_ids.empty()) to.eos_ids = ids_of(find("eos_token_id"));
  const std::vector<std::int64_t> bos = ids_of(find("bos_token_id"));
  if (!bos.empty()) to.bos_id = bos.front();
  return {};
}

}  // namespace

const std::string* Settings::find_named(std::string_view name) const {
  for (const auto& [key, text] : named) {
    if (key == name) return &text;
  }
  return nullptr;
}

void Settings::set_default(std::string_view name, std::string_view text) {
  const Value* given = config.find(name);
  if (find_named(name) || (given && given->is_null())) return;
  named.emplace_back(name, text);
  AddedToken token;
  token.content = text;
  token.special = true;
  token.only_if_absent = true;
  added.push_back(std::move(token));
}

Result<Value> read_object(const formats::ModelFolder& folder, std::string_view name) {
  if (!folder.has(name)) return Value();
  MLXMILL_ASSIGN(const std::string text, folder.read(name, kMaxSettingsBytes));
  Result<Value> value = formats::parse_json(text, {.refuse_duplicate_keys = false});
  if (!value) return std::move(value.error().at(name));
  if (!value->as_object()) {
    return Error(Code::kInvalidInput, fmt::format("is {}; expected an object", value->type_name()))
        .at(name);
  }
  return value;
}

Result<Settings> read_settings(const formats::ModelFolder& folder) {
  Settings settings;
  MLXMILL_ASSIGN(settings.config, read_object(folder, kConfig));
  const Value& config = settings.config;
  read_flags(config, settings);
  MLXMILL_TRY(read_model_config(folder, settings));
  if (settings.tokenizer_class.ends_with("Fast")) {
    settings.tokenizer_class.resize(settings.tokenizer_class.size() - 4);
  }
  std::vector<AddedToken> by_id;
  MLXMILL_TRY(read_named(config, kConfig, settings));
  if (const Value* decoder = config.find("added_tokens_decoder")) {
    MLXMILL_ASSIGN(by_id, read_decoder(*decoder));
    MLXMILL_TRY(read_extra(config, kConfig, settings));
  } else {
    // Files of before that key.
    MLXMILL_ASSIGN(const Value map, read_object(folder, kMap));
    MLXMILL_TRY(read_named(map, kMap, settings));
    MLXMILL_TRY(read_extra(config, kConfig, settings));
    MLXMILL_TRY(read_extra(map, kMap, settings));
    MLXMILL_ASSIGN(const Value added, read_object(folder, kAdded));
    MLXMILL_ASSIGN(by_id, read_added_file(added));
    for (AddedToken& token : by_id) {
      token.special =
          std::any_of(settings.added.begin(), settings.added.end(),
                      [&](const AddedToken& one) { return one.content == token.content; });
      token.only_if_absent = true;
    }
  }
  for (AddedToken& token : by_id) {
    const auto names_it = [&](const auto& pair) { return pair.second == token.content; };
    if (std::any_of(settings.named.begin(), settings.named.end(), names_it)) token.special = true;
  }
  // Those with ids first: what comes after them counts on.
  settings.added.insert(settings.added.begin(), std::make_move_iterator(by_id.begin()),
                        std::make_move_iterator(by_id.end()));
  return settings;
}

}  // namespace mlxmill::tokenize
