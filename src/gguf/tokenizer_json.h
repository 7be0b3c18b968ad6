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
#include "vocabulary/bpe_tokenizer.h"

namespace mlxmill::gguf {

using vocabulary::BpeTokenizer;
using vocabulary::index_of;
using vocabulary::Merge;
using vocabulary::TokenId;
using vocabulary::TokenIndex;

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
