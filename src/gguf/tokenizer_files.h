// The tokenizer files of a Hugging Face folder, from the metadata of a GGUF file.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/value.h"
#include "mlxmill/result.h"

namespace mlxmill::gguf {

struct TokenizerFiles {
  /// tokenizer.json (of known kinds), tokenizer_config.json, chat_template.jinja (when there is
  /// one).
  std::vector<std::pair<std::string, std::string>> files;
  std::vector<std::string> warnings;
  std::optional<std::int64_t> bos, pad;
  /// Everything that ends a model's turn, the eos token first.
  std::vector<std::int64_t> eos;
};

/// `rows`: of the embedding. Errors: kInvalidInput for a tokenizer that contradicts itself or the
/// embedding, naming the key. Cost: in proportion to the vocabulary and its merges.
Result<TokenizerFiles> tokenizer_files(const base::Value& metadata, std::string_view architecture,
                                       std::int64_t rows);

}  // namespace mlxmill::gguf
