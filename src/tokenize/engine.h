// The Hugging Face tokenizers library and MiniJinja as values and errors.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/value.h"
#include "mlxmill/result.h"

struct MlxmillTokenizer;

namespace mlxmill::tokenize {

using TokenId = std::uint32_t;

/// One tokenizer of the library. Threads: const functions may run at once.
class Engine {
 public:
  /// Reads the text of a tokenizer.json. The members of `settings` replace parts of it:
  /// "normalizer", "pre_tokenizer", "post_processor", "decoder"; "model" with some of "unk_token",
  /// "fuse_unk", "byte_fallback", "ignore_merges"; "added_tokens" are added. Errors: kInvalidInput
  /// with what the library says; kNoMemory past 64 MiB and 64 times the text.
  static Result<Engine> load(std::string_view json, const base::Value& settings);

  Result<std::vector<TokenId>> encode(std::string_view text, bool add_special) const;
  Result<std::string> decode(std::span<const TokenId> ids, bool skip_special) const;
  std::optional<std::string> spelling(TokenId id) const;
  std::optional<TokenId> find(std::string_view spelling) const;
  /// "model", "tokens", "largest_id", "decoder", "added_tokens".
  Result<base::Value> describe() const;

 private:
  struct Free {
    void operator()(MlxmillTokenizer* tokenizer) const;
  };
  std::unique_ptr<MlxmillTokenizer, Free> tokenizer_;
};

/// Bounds on a chat template.
struct TemplateLimits {
  std::uint64_t steps = 20'000'000;
  std::uint64_t output_bytes = std::uint64_t{64} << 20;
  std::uint64_t memory_bytes = std::uint64_t{256} << 20;  ///< Beside the output.
  std::uint64_t milliseconds = 30'000;
};

/// Renders a template with the members of `context` as variables. Errors: kInvalidInput with the
/// line, what the template raised, or the bound that it passed.
Result<std::string> render_template(std::string_view source, const base::Value& context,
                                    const TemplateLimits& limits = {});

}  // namespace mlxmill::tokenize
