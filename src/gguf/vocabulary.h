// The tokenizer as the metadata of a GGUF file holds it.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/value.h"
#include "mlxmill/result.h"

namespace mlxmill::gguf {

/// tokenizer.ggml.token_type.
enum class TokenType : std::uint8_t {
  kNormal = 1,
  kUnknown = 2,
  kControl = 3,
  kUserDefined = 4,
  kUnused = 5,
  kByte = 6,
};

/// Checked: lists of one length, ids below it, text that is UTF-8. Views point into the metadata.
struct Vocabulary {
  std::string_view model;  ///< "gpt2": byte-level BPE; "llama", "gemma4": SentencePiece
  std::string_view pre;    ///< How "gpt2" splits text into words; may be empty.
  std::vector<std::string_view> tokens;
  std::vector<TokenType> types;
  std::vector<float> scores;             ///< Empty, or one per token.
  std::vector<std::string_view> merges;  ///< "left right"
  std::optional<std::int64_t> bos, eos, unknown, padding;
  /// End of turn and of message: other ways for a model to stop.
  std::optional<std::int64_t> end_of_turn, end_of_message;
  std::optional<bool> add_bos, add_eos, add_space_prefix;

  /// Rows that only fill up the embedding: no tokens of the tokenizer.
  bool is_padding(std::size_t id) const;
};

/// Nothing when the metadata names no tokenizer model or lists no tokens.
/// Errors: kInvalidInput for wrong types, lists of other lengths than tokens, ids out of range,
/// text that is no UTF-8; naming the key and the index.
Result<std::optional<Vocabulary>> read_vocabulary(const base::Value& metadata);

}  // namespace mlxmill::gguf
