#include "tokenize/source.h"

#include <fmt/format.h>

#include <algorithm>

#include "base/quoted.h"
#include "formats/json.h"
#include "tokenize/class_rules.h"
#include "tokenize/sentencepiece_model.h"
#include "vocabulary/bpe_tokenizer.h"
#include "vocabulary/byte_level.h"

namespace mlxmill::tokenize {
namespace {

using base::Value;
using vocabulary::BpeTokenizer;
using vocabulary::Split;
using vocabulary::TokenId;

// The largest published tokenizer.json have some 35 MB.
constexpr std::uint64_t kMaxVocabularyBytes = std::uint64_t{512} << 20;
// serde_json, which reads the file then, stops at 128.
constexpr int kMaxDepth = 100;

/// Nesting by brackets outside of strings; whether the text is JSON is the library's to say.
int depth_of(std::string_view json) {
  int depth = 0;
  int deepest = 0;
  bool in_string = false;
  for (std::size_t i = 0; i < json.size(); ++i) {
    const char c = json[i];
    if (in_string) {
      if (c == '\\') ++i;
      if (c == '"') in_string = false;
    } else if (c == '"') {
      in_string = true;
    } else if (c == '[' || c == '{') {
      deepest = std::max(deepest, ++depth);
    } else if (c == ']' || c == '}') {
      --depth;
    }
  }
  return deepest;
}

Result<Source> read_json(const formats::ModelFolder& folder) {
  constexpr const char* kName = "tokenizer.json";
  MLXMILL_ASSIGN(std::string json, folder.read(kName, kMaxVocabularyBytes));
  const int depth = depth_of(json);
  if (depth > kMaxDepth) {
    return Error(Code::kInvalidInput,
                 fmt::format("is nested {} levels deep; at most {} are read", depth, kMaxDepth))
        .at(kName);
  }
  return Source{std::move(json), kName, true};
}

Result<Source> read_sentencepiece(const formats::ModelFolder& folder, Settings& settings) {
  constexpr const char* kName = "tokenizer.model";
  MLXMILL_ASSIGN(const std::string bytes, folder.read(kName, kMaxVocabularyBytes));
  Result<SentencePieceModel> model = parse_sentencepiece(bytes);
  if (!model) return std::move(model.error().at(kName));
  const auto name = [&](std::string_view key, std::int64_t id) {
    if (id < 0) return;
    const auto at = static_cast<std::size_t>(id);
    // The ids have defaults, which models without such tokens leave standing.
    const bool marked =
        model->types[at] == PieceType::kControl || model->types[at] == PieceType::kUnknown;
    if (marked) settings.set_default(key, model->pieces[at]);
  };
  name("bos_token", model->bos);
  name("eos_token", model->eos);
  name("unk_token", model->unknown);
  MLXMILL_ASSIGN(std::string json,
                 sentencepiece_json(*model, !settings.legacy_given || settings.legacy));
  return Source{std::move(json), kName, false};
}

/// vocab.json: {"token": id}, as tokens by id that point into `vocabulary`.
Result<std::vector<std::string_view>> tokens_of(const Value& vocabulary) {
  std::vector<std::string_view> tokens;
  const base::Object& members = *vocabulary.as_object();
  // Some vocabularies have gaps; one token may not make an array of a thousand millions.
  const auto limit = static_cast<std::int64_t>(2 * members.size() + 1024);
  for (const base::Member& member : members) {
    const std::int64_t* id = member.value.as_int();
    if (!id || *id < 0 || *id >= limit) {
      return Error(Code::kInvalidInput, fmt::format("the id of {} is none; expected 0 to {}",
                                                    base::quoted(member.key), limit - 1));
    }
    const auto at = static_cast<std::size_t>(*id);
    if (at >= tokens.size()) tokens.resize(at + 1);
    tokens[at] = member.key;
  }
  return tokens;
}

/// merges.txt: a comment, then two tokens a line.
Result<std::vector<vocabulary::Merge>> merges_of(std::string_view text,
                                                 const vocabulary::TokenIndex& index) {
  std::vector<vocabulary::Merge> merges;
  std::size_t number = 0;
  while (!text.empty()) {
    const std::size_t end = text.find('\n');
    std::string_view line = text.substr(0, end);
    text = end == std::string_view::npos ? std::string_view() : text.substr(end + 1);
    ++number;
    if (line.ends_with('\r')) line.remove_suffix(1);
    if (line.empty() || (number == 1 && line.starts_with("#version"))) continue;
    const std::size_t space = line.find(' ');
    const auto left = index.find(line.substr(0, space));
    const auto right =
        space == std::string_view::npos ? index.end() : index.find(line.substr(space + 1));
    if (left == index.end() || right == index.end()) {
      return Error(Code::kInvalidInput,
                   fmt::format("line {} is {}; expected two tokens of vocab.json", number,
                               base::quoted(line)));
    }
    merges.push_back({left->second, right->second});
  }
  return merges;
}

Result<Source> read_vocabulary(const formats::ModelFolder& folder, const Settings& settings) {
  MLXMILL_ASSIGN(const Value vocabulary, read_object(folder, "vocab.json"));
  BpeTokenizer bpe;
  Result<std::vector<std::string_view>> tokens = tokens_of(vocabulary);
  if (!tokens) return std::move(tokens.error().at("vocab.json"));
  bpe.tokens = *std::move(tokens);
  const vocabulary::TokenIndex index = vocabulary::index_of(bpe.tokens);
  if (!index.contains("\u0120") && !index.contains("a")) {
    return Error(Code::kUnsupported, "is no vocabulary of byte-level BPE").at("vocab.json");
  }
  MLXMILL_ASSIGN(const std::string merges, folder.read("merges.txt", kMaxVocabularyBytes));
  Result<std::vector<vocabulary::Merge>> parsed = merges_of(merges, index);
  if (!parsed) return std::move(parsed.error().at("merges.txt"));
  bpe.merges = *std::move(parsed);
  const bool qwen = settings.tokenizer_class == "Qwen2Tokenizer";
  if (qwen) bpe.normalizer = base::Object{{"type", "NFC"}};
  bpe.pre_tokenizer = vocabulary::byte_level_words(qwen ? Split::kQwen2 : Split::kGpt2,
                                                   settings.add_prefix_space.value_or(false));
  bpe.decoder = vocabulary::byte_level_step(true, true);
  return Source{tokenizer_json(bpe), "vocab.json", false};
}

}  // namespace

Result<Source> find_source(const formats::ModelFolder& folder, Settings& settings) {
  if (is_llama_class(settings)) {
    settings.set_default("bos_token", "<s>");
    settings.set_default("eos_token", "</s>");
    settings.set_default("unk_token", "<unk>");
  }
  if (folder.has("tokenizer.json")) return read_json(folder);
  if (folder.has("tokenizer.model")) return read_sentencepiece(folder, settings);
  if (folder.has("vocab.json") && folder.has("merges.txt")) {
    return read_vocabulary(folder, settings);
  }
  return Error(Code::kNotFound,
               "no tokenizer; expected tokenizer.json, tokenizer.model, or vocab.json with "
               "merges.txt");
}

}  // namespace mlxmill::tokenize
