// SentencePiece as BPE. The pieces of a text are joined in the order of the scores of what they
// make, which is what merges in the order of those scores do.
#include <algorithm>
#include <cstddef>

#include "formats/unicode.h"
#include "gguf/tokenizer_json.h"

namespace mlxmill::gguf {
namespace {

using base::Array;
using base::Object;
using base::Value;

// Longer ones take time in proportion to the square; the longest published have 96 bytes.
constexpr std::size_t kMaxJoined = 256;
constexpr const char* kSpace = "\u2581";

/// A way to make a token, with what decides its place.
struct Candidate {
  double score = 0;
  std::uint32_t left_length = 0;  ///< In code points.
  std::uint32_t right_length = 0;
  Merge merge;
};

/// Offsets of the code points of a text, and its end.
void cut(std::string_view text, std::vector<std::size_t>& offsets) {
  offsets.clear();
  for (std::size_t pos = 0; pos < text.size();) {
    offsets.push_back(pos);
    if (!formats::next_code_point(text, pos, false)) ++pos;
  }
  offsets.push_back(text.size());
}

/// Only these come from joining pieces of a text.
bool is_joined(TokenType type) {
  return type == TokenType::kNormal || type == TokenType::kUserDefined;
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
  const TokenIndex index = index_of(tokenizer.tokens);
  std::vector<Candidate> all;
  std::vector<std::size_t> offsets;
  for (std::size_t id = 0; id < tokenizer.tokens.size(); ++id) {
    const std::string_view text = tokenizer.tokens[id];
    if (text.empty() || text.size() > kMaxJoined || !is_joined(vocabulary.types[id])) continue;
    cut(text, offsets);
    const std::size_t begin = all.size();
    const auto n = static_cast<std::uint32_t>(offsets.size() - 1);
    for (std::uint32_t k = 1; k < n; ++k) {
      const auto left = index.find(text.substr(0, offsets[k]));
      if (left == index.end() || !is_joined(vocabulary.types[left->second])) continue;
      const auto right = index.find(text.substr(offsets[k]));
      if (right == index.end() || !is_joined(vocabulary.types[right->second])) continue;
      const double score =
          by_id ? -static_cast<double>(id) : static_cast<double>(vocabulary.scores[id]);
      all.push_back({score, k, n - k, {left->second, right->second}});
    }
    std::sort(all.begin() + static_cast<std::ptrdiff_t>(begin), all.end(),
              [](const Candidate& a, const Candidate& b) {
                return std::pair(a.merge.left, a.merge.right) <
                       std::pair(b.merge.left, b.merge.right);
              });
  }
  std::stable_sort(all.begin(), all.end(), [](const Candidate& a, const Candidate& b) {
    if (a.score != b.score) return a.score > b.score;
    if (a.left_length != b.left_length) return a.left_length > b.left_length;
    return a.right_length > b.right_length;
  });
  std::vector<Merge> merges;
  merges.reserve(all.size());
  for (const Candidate& candidate : all) merges.push_back(candidate.merge);
  return merges;
}

Object replace(std::string_view from, std::string_view to) {
  return {{"type", "Replace"}, {"pattern", Object{{"String", from}}}, {"content", to}};
}

Object sequence(const char* items, Array list) {
  return {{"type", "Sequence"}, {items, std::move(list)}};
}

void add_steps(BpeTokenizer& tokenizer, bool prefix, bool is_gemma) {
  Array normalizers;
  if (prefix) normalizers.emplace_back(Object{{"type", "Prepend"}, {"prepend", kSpace}});
  normalizers.emplace_back(replace(" ", kSpace));
  Array decoders{replace(kSpace, " "), Object{{"type", "ByteFallback"}}, Object{{"type", "Fuse"}}};
  if (prefix) {
    decoders.emplace_back(Object{{"type", "Strip"}, {"content", " "}, {"start", 1}, {"stop", 0}});
  }
  if (is_gemma) {
    tokenizer.normalizer = replace(" ", kSpace);
    tokenizer.pre_tokenizer = Object{{"type", "Split"},
                                     {"pattern", Object{{"String", " "}}},
                                     {"behavior", "MergedWithPrevious"},
                                     {"invert", false}};
  } else {
    tokenizer.normalizer = sequence("normalizers", std::move(normalizers));
  }
  tokenizer.decoder = sequence("decoders", std::move(decoders));
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
