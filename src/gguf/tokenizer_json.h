// tokenizer.json, the file of Hugging Face's tokenizers library, from the parts of a GGUF
// vocabulary.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "base/value.h"
#include "gguf/vocabulary.h"
#include "mlxmill/result.h"

namespace mlxmill::gguf {

using TokenId = std::uint32_t;

/// A merge of two tokens of the vocabulary, the most important first.
struct Merge {
  TokenId left = 0;
  TokenId right = 0;
};

/// A BPE tokenizer. `tokens` are all tokens by id; those of an empty text are none.
struct BpeTokenizer {
  BpeTokenizer() = default;
  BpeTokenizer(BpeTokenizer&&) = default;  // Not copied: tokens would point into the other's.
  BpeTokenizer& operator=(BpeTokenizer&&) = default;

  std::vector<std::string_view> tokens;
  std::vector<std::string> respelled;  ///< What some of `tokens` point into; never grows again.
  std::vector<TokenId> added;          ///< Matched whole in a text, before anything else.
  std::vector<TokenId> special;        ///< Those of them that are no text; in order.
  std::vector<Merge> merges;
  base::Value normalizer;
  base::Value pre_tokenizer;
  base::Value post_processor;
  base::Value decoder;
  std::optional<TokenId> unknown;
  bool fuse_unknown = false;
  bool byte_fallback = false;
  bool ignore_merges = false;  ///< A word that is a token as a whole needs no merges.
};

/// Token ids by text. Of two tokens with one text the first counts.
using TokenIndex = std::unordered_map<std::string_view, TokenId>;
TokenIndex index_of(const std::vector<std::string_view>& tokens);

/// Text and all; big vocabularies make some tens of megabytes.
std::string tokenizer_json(const BpeTokenizer& tokenizer);

/// Puts tokens of the vocabulary before and after every text. Null when neither is to be added.
base::Value template_processing(const Vocabulary& vocabulary, bool add_bos, bool add_eos);

/// Byte-level BPE ("gpt2"). Nothing when it is not known how it splits words. Errors: kInvalidInput
/// for a merge that is none or of tokens that are not there.
Result<std::optional<BpeTokenizer>> byte_level_bpe(const Vocabulary& vocabulary,
                                                   std::string_view architecture);

/// The file's own list of merges. Errors: kInvalidInput as byte_level_bpe.
Result<std::vector<Merge>> listed_merges(const Vocabulary& vocabulary,
                                         const BpeTokenizer& tokenizer);

/// SentencePiece ("llama") as BPE with merges that do the same; Gemma 4's ("gemma4") has a list of
/// them. Errors: kInvalidInput without an unknown token, or for the list as byte_level_bpe.
Result<BpeTokenizer> sentence_piece_bpe(const Vocabulary& vocabulary,
                                        std::string_view architecture);

/// Whether texts begin with the bos token when the file does not say.
bool adds_bos_by_default(const Vocabulary& vocabulary);

}  // namespace mlxmill::gguf
