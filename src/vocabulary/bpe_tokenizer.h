// The parts of a tokenizer as the vocabularies of others name them, to be written as
// tokenizer.json.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "base/value.h"

namespace mlxmill::vocabulary {

using TokenId = std::uint32_t;

/// What SentencePiece writes for a space.
inline constexpr const char* kSpace = "\u2581";

/// A merge of two tokens of the vocabulary, the most important first.
struct Merge {
  TokenId left = 0;
  TokenId right = 0;
};

/// What comes before, after and around the model, the same for every kind of it.
struct Steps {
  base::Value normalizer;
  base::Value pre_tokenizer;
  base::Value post_processor;
  base::Value decoder;
};

/// A BPE tokenizer. `tokens` are all tokens by id; those of an empty text are none.
struct BpeTokenizer : Steps {
  BpeTokenizer() = default;
  BpeTokenizer(BpeTokenizer&&) = default;  // Not copied: tokens would point into the other's.
  BpeTokenizer& operator=(BpeTokenizer&&) = default;

  std::vector<std::string_view> tokens;
  std::vector<std::string> respelled;  ///< What some of `tokens` point into; never grows again.
  std::vector<TokenId> added;          ///< Matched whole in a text, before anything else.
  std::vector<TokenId> special;        ///< Those of them that are no text; in order.
  std::vector<Merge> merges;
  std::optional<TokenId> unknown;
  bool fuse_unknown = false;
  bool byte_fallback = false;
  bool ignore_merges = false;  ///< A word that is a token as a whole needs no merges.
};

/// A unigram tokenizer: a text is cut where the sum of the scores is largest.
struct UnigramTokenizer : Steps {
  std::vector<std::string_view> tokens;
  std::vector<float> scores;  ///< One per token.
  std::vector<TokenId> added;
  std::vector<TokenId> special;
  std::optional<TokenId> unknown;
  bool byte_fallback = false;
};

/// Token ids by text. Of two tokens with one text the first counts.
using TokenIndex = std::unordered_map<std::string_view, TokenId>;
TokenIndex index_of(const std::vector<std::string_view>& tokens);

/// tokenizer.json, the file of Hugging Face's tokenizers library. Text and all; big vocabularies
/// make some tens of megabytes.
std::string tokenizer_json(const BpeTokenizer& tokenizer);
std::string tokenizer_json(const UnigramTokenizer& tokenizer);

/// How merges of one score follow each other.
enum class MergeOrder : std::uint8_t {
  kLongestLeft,  ///< By length of the left part, then the right, both falling.
  kById,         ///< By id of what they make, then by the text of the parts.
};

/// The merges that do what joining pieces in the order of the scores of what they make does, which
/// is what SentencePiece does. `joined[id]` tells whether a token comes from joining. `scores` has
/// one per token; empty stands for minus the id.
std::vector<Merge> merges_by_score(const std::vector<std::string_view>& tokens,
                                   const std::vector<bool>& joined,
                                   const std::vector<float>& scores, MergeOrder order);

/// The spelling of a step of tokenizer.json that replaces a text.
base::Object replace_step(std::string_view from, std::string_view to);
/// Steps one after another; `items` is the name of the list, "normalizers" for example.
base::Object sequence_step(const char* items, base::Array list);

}  // namespace mlxmill::vocabulary
