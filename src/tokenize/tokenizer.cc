#include "mlxmill/tokenizer.h"

#include <algorithm>
#include <array>
#include <unordered_map>

#include "base/value.h"
#include "tokenize/chat_templates.h"
#include "tokenize/class_rules.h"
#include "tokenize/engine.h"
#include "tokenize/settings.h"
#include "tokenize/source.h"
#include "tokenize/token_bytes.h"

namespace mlxmill {

using base::Value;

struct Tokenizer::Parts {
  tokenize::Engine engine;
  tokenize::ChatTemplates templates;
  std::vector<std::pair<std::string, std::string>> named;
  tokenize::Spelling spelling;
  std::unordered_map<TokenId, bool> added;  ///< Whether an added token is special.
  std::size_t size = 0;
  std::size_t id_limit = 0;
  bool clean_up = false;
  std::optional<TokenId> bos;
  std::vector<TokenId> eos;
};

namespace {

/// What transformers' clean_up_tokenization replaces, in its order.
constexpr std::array<std::pair<std::string_view, std::string_view>, 10> kCleanUps = {{
    {" .", "."},
    {" ?", "?"},
    {" !", "!"},
    {" ,", ","},
    {" ' ", "'"},
    {" n't", "n't"},
    {" 'm", "'m"},
    {" 's", "'s"},
    {" 've", "'ve"},
    {" 're", "'re"},
}};

std::string cleaned(std::string text) {
  for (const auto& [from, to] : kCleanUps) {
    std::string out;
    std::size_t begin = 0;
    for (std::size_t at = 0; (at = text.find(from, begin)) != std::string::npos;) {
      out.append(text, begin, at - begin).append(to);
      begin = at + from.size();
    }
    text = out.append(text, begin);
  }
  return text;
}

std::int64_t number(const Value& object, std::string_view key) {
  const Value* value = object.find(key);
  return value && value->as_int() ? *value->as_int() : -1;
}

bool is_true(const Value& object, std::string_view key) {
  const Value* value = object.find(key);
  return value && value->as_bool() && *value->as_bool();
}

bool is_id(std::int64_t id) { return id >= 0 && id <= std::int64_t{0xFFFFFFFF}; }

std::optional<TokenId> id_of(const tokenize::Settings& settings, const tokenize::Engine& engine,
                             std::string_view name) {
  const std::string* text = settings.find_named(name);
  return text ? engine.find(*text) : std::nullopt;
}

std::optional<TokenId> bos_of(const tokenize::Settings& settings, const tokenize::Engine& engine) {
  const std::optional<TokenId> named = id_of(settings, engine, "bos_token");
  if (named || !settings.bos_id || !is_id(*settings.bos_id)) return named;
  return static_cast<TokenId>(*settings.bos_id);
}

std::vector<TokenId> eos_of(const tokenize::Settings& settings, const tokenize::Engine& engine) {
  std::vector<TokenId> ids;
  for (const std::int64_t id : settings.eos_ids) {
    if (is_id(id)) ids.push_back(static_cast<TokenId>(id));
  }
  if (const auto named = id_of(settings, engine, "eos_token")) ids.push_back(*named);
  std::sort(ids.begin(), ids.end());
  ids.erase(std::unique(ids.begin(), ids.end()), ids.end());
  return ids;
}

/// Whether each added token is special, by id.
std::unordered_map<TokenId, bool> added_of(const Value& facts) {
  std::unordered_map<TokenId, bool> added;
  const Value* list = facts.find("added_tokens");
  if (!list || !list->as_array()) return added;
  for (const Value& token : *list->as_array()) {
    added[static_cast<TokenId>(number(token, "id"))] = is_true(token, "special");
  }
  return added;
}

}  // namespace

Result<Tokenizer> Tokenizer::open(const std::filesystem::path& folder) {
  MLXMILL_ASSIGN(const formats::ModelFolder files, formats::ModelFolder::open(folder));
  const auto at_folder = [&](Error error) { return std::move(error.at(folder.string())); };
  Result<tokenize::Settings> settings = tokenize::read_settings(files);
  if (!settings) return at_folder(std::move(settings.error()));
  Result<tokenize::Source> source = tokenize::find_source(files, *settings);
  if (!source) return at_folder(std::move(source.error()));
  Result<tokenize::Engine> engine =
      tokenize::Engine::load(source->json, tokenize::engine_settings(*settings, source->from_json));
  if (!engine) return at_folder(std::move(engine.error().at(source->file)));
  Result<tokenize::ChatTemplates> templates = tokenize::read_chat_templates(files, *settings);
  if (!templates) return at_folder(std::move(templates.error()));
  MLXMILL_ASSIGN(const Value facts, engine->describe());

  auto parts = std::make_shared<Parts>();
  parts->size = static_cast<std::size_t>(std::max<std::int64_t>(0, number(facts, "tokens")));
  parts->id_limit = static_cast<std::size_t>(number(facts, "largest_id") + 1);
  if (const Value* decoder = facts.find("decoder")) {
    parts->spelling = tokenize::spelling_of(*decoder);
  }
  parts->added = added_of(facts);
  const Value* model = facts.find("model");
  // Made for WordPiece; transformers 5 leaves texts of BPE alone unless told twice.
  const bool is_bpe = model && model->as_string() && *model->as_string() == "BPE";
  parts->clean_up = settings->clean_up_spaces && (!is_bpe || settings->clean_up_spaces_of_bpe);
  parts->bos = bos_of(*settings, *engine);
  parts->eos = eos_of(*settings, *engine);
  parts->named = std::move(settings->named);
  parts->templates = *std::move(templates);
  parts->engine = *std::move(engine);
  return Tokenizer(std::move(parts));
}

Result<std::vector<TokenId>> Tokenizer::encode(std::string_view text,
                                               bool add_special_tokens) const {
  return parts_->engine.encode(text, add_special_tokens);
}

Result<std::string> Tokenizer::decode(std::span<const TokenId> ids,
                                      bool skip_special_tokens) const {
  MLXMILL_ASSIGN(std::string text, parts_->engine.decode(ids, skip_special_tokens));
  return parts_->clean_up ? cleaned(std::move(text)) : text;
}

std::size_t Tokenizer::size() const { return parts_->size; }
std::size_t Tokenizer::id_limit() const { return parts_->id_limit; }

std::optional<std::string> Tokenizer::token_bytes(TokenId id) const {
  std::optional<std::string> spelled = parts_->engine.spelling(id);
  if (!spelled || parts_->added.contains(id)) return spelled;
  return tokenize::bytes_of(*spelled, parts_->spelling);
}

std::optional<std::string> Tokenizer::token_spelling(TokenId id) const {
  return parts_->engine.spelling(id);
}

std::optional<TokenId> Tokenizer::find(std::string_view spelling) const {
  return parts_->engine.find(spelling);
}

bool Tokenizer::is_special(TokenId id) const {
  const auto found = parts_->added.find(id);
  return found != parts_->added.end() && found->second;
}

std::optional<TokenId> Tokenizer::bos() const { return parts_->bos; }
const std::vector<TokenId>& Tokenizer::eos() const { return parts_->eos; }

std::vector<std::string> Tokenizer::chat_templates() const {
  std::vector<std::string> names;
  for (const auto& [name, text] : parts_->templates) names.push_back(name);
  return names;
}

Result<std::string> Tokenizer::render_chat(std::string_view messages_json,
                                           const ChatOptions& options) const {
  return tokenize::render_chat(parts_->templates, parts_->named, messages_json, options);
}

}  // namespace mlxmill
