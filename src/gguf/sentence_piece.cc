// SentencePiece as BPE. The pieces of a text are joined in the order of the scores of what they
// make, which is what merges in the order of those scores do.
#include <fmt/format.h>

#include <algorithm>
#include <cstddef>

#include "gguf/tokenizer_json.h"

namespace mlxmill::gguf {
namespace {

using base::Array;
using base::Object;
using base::Value;
using vocabulary::kSpace;
using vocabulary::replace_step;
using vocabulary::sequence_step;

// Each byte of a token may be a place to split it. The largest published vocabularies have 2 MiB.
constexpr std::size_t kMaxTextBytes = std::size_t{16} << 20;

/// Only these come from joining pieces of a text.
bool is_joined(TokenType type) {
  return type == TokenType::kNormal || type == TokenType::kUserDefined;
}

Status check_size(const Vocabulary& vocabulary) {
  std::size_t bytes = 0;
  for (const std::string_view token : vocabulary.tokens) bytes += token.size();
  if (bytes <= kMaxTextBytes) return {};
  return Error(Code::kUnsupported,
               fmt::format("the tokens have {} bytes; merges are rebuilt for at most {}", bytes,
                           kMaxTextBytes))
      .at("metadata \"tokenizer.ggml.tokens\"");
}

/// Files made from tokenizer.json alone hold one score for all: the order of the ids is the best
/// guess then. Gemma's scores do not follow its merges, its ids do.
bool orders_by_id(const Vocabulary& vocabulary, std::string_view architecture) {
  if (architecture.starts_with("gemma") || vocabulary.scores.empty()) return true;
  std::optional<float> first;
  for (std::size_t i = 0; i < vocabulary.tokens.size(); ++i) {
    if (vocabulary.types[i] != TokenType::kNormal) continue;
    if (!first) first = vocabulary.scores[i];
    if (vocabulary.scores[i] != *first) return false;
  }
  return true;
}

std::vector<Merge> merges_of(const Vocabulary& vocabulary, const BpeTokenizer& tokenizer,
                             bool by_id) {
  std::vector<bool> joined(tokenizer.tokens.size());
  for (std::size_t id = 0; id < joined.size(); ++id) joined[id] = is_joined(vocabulary.types[id]);
  return vocabulary::merges_by_score(tokenizer.tokens, joined,
                                     by_id ? std::vector<float>() : vocabulary.scores,
                                     vocabulary::MergeOrder::kLongestLeft);
}

void add_steps(BpeTokenizer& tokenizer, bool prefix, bool is_gemma) {
  Array normalizers;
  if (prefix) normalizers.emplace_back(Object{{"type", "Prepend"}, {"prepend", kSpace}});
  normalizers.emplace_back(replace_step(" ", kSpace));
  Array decoders{replace_step(kSpace, " "), Object{{"type", "ByteFallback"}},
                 Object{{"type", "Fuse"}}};
  if (prefix) {
    decoders.emplace_back(Object{{"type", "Strip"}, {"content", " "}, {"start", 1}, {"stop", 0}});
  }
  if (is_gemma) {
    tokenizer.normalizer = replace_step(" ", kSpace);
    tokenizer.pre_tokenizer = Object{{"type", "Split"},
                                     {"pattern", Object{{"String", " "}}},
                                     {"behavior", "MergedWithPrevious"},
                                     {"invert", false}};
  } else {
    tokenizer.normalizer = sequence_step("normalizers", std::move(normalizers));
  }
  tokenizer.decoder = sequence_step("decoders", std::move(decoders));
}

bool is_spaces(std::string_view text) {
  return !text.empty() && text.find_first_not_of(' ') == std::string_view::npos;
}

}  // namespace

Result<BpeTokenizer> sentence_piece_bpe(const Vocabulary& vocabulary,
                                        std::string_view architecture) {
  const bool is_gemma = architecture.starts_with("gemma");
  BpeTokenizer result;
  result.tokens = vocabulary.tokens;
  result.respelled.reserve(vocabulary.tokens.size());
  for (std::size_t id = 0; id < result.tokens.size(); ++id) {
    if (vocabulary.is_padding(id)) {
      result.tokens[id] = {};
      continue;
    }
    const TokenType type = vocabulary.types[id];
    // Runs of spaces are written as spaces; the normalizer has replaced those in a text.
    if (type == TokenType::kUserDefined && is_spaces(result.tokens[id])) {
      std::string& spelled = result.respelled.emplace_back();
      for (std::size_t n = result.tokens[id].size(); n > 0; --n) spelled += kSpace;
      result.tokens[id] = spelled;
      continue;
    }
    if (type == TokenType::kNormal || type == TokenType::kByte || type == TokenType::kUnused) {
      continue;
    }
    if (result.tokens[id].empty()) continue;
    result.added.push_back(static_cast<TokenId>(id));
    if (type != TokenType::kUserDefined) result.special.push_back(static_cast<TokenId>(id));
  }
  const std::int64_t unknown = vocabulary.unknown.value_or(0);
  result.unknown = static_cast<TokenId>(unknown);
  if (result.tokens[*result.unknown].empty()) {
    return Error(Code::kInvalidInput, "the unknown token has no text")
        .at("metadata \"tokenizer.ggml.unknown_token_id\"");
  }
  if (vocabulary.model == "gemma4") {
    MLXMILL_ASSIGN(result.merges, listed_merges(vocabulary, result));
  } else {
    MLXMILL_TRY(check_size(vocabulary));
    result.merges = merges_of(vocabulary, result, orders_by_id(vocabulary, architecture));
  }
  result.fuse_unknown = true;
  result.byte_fallback = true;
  // What llama.cpp takes for granted where the file does not say.
  add_steps(result, vocabulary.add_space_prefix.value_or(!is_gemma), is_gemma);
  result.post_processor =
      template_processing(vocabulary, vocabulary.add_bos.value_or(adds_bos_by_default(vocabulary)),
                          vocabulary.add_eos.value_or(false));
  return result;
}

}  // namespace mlxmill::gguf
