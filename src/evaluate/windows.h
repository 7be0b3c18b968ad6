// How text becomes windows of tokens, and which of their positions are scored.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "mlxmill/evaluate.h"
#include "mlxmill/result.h"

namespace mlxmill::evaluate {

/// A text as token ids. One record for plain text; the mlx_lm protocol shuffles records.
struct TokenText {
  std::string name;
  std::vector<std::vector<std::int32_t>> records;
};

struct Window {
  std::uint32_t text = 0;  ///< Index of its text.
  std::vector<std::int32_t> tokens;
  /// Positions [begin, end) are scored: position i predicts tokens[i + 1]. end < tokens.size().
  std::uint32_t begin = 0;
  std::uint32_t end = 0;

  friend bool operator==(const Window&, const Window&) = default;
};

struct WindowRule {
  EvalProtocol protocol = EvalProtocol::kStrided;
  int context = 512;
  int stride = 256;
  std::optional<int> samples;
  std::uint32_t seed = 123;
  std::optional<std::int32_t> bos;  ///< Set when the tokenizer puts it before a text.
};

/// "llama-perplexity, context 512": everything the windows follow from but the tokens.
std::string describe(const WindowRule& rule);

/// Cuts texts. kStrided: `records` without special tokens; kLlamaPerplexity: with those that the
/// tokenizer adds; kMlxLmPerplexity: each with its end-of-text token.
/// Errors: kUsage for settings out of range; kInvalidInput when a text is shorter than the protocol
/// needs, naming it.
Result<std::vector<Window>> make_windows(const WindowRule& rule, std::span<const TokenText> texts);

/// Positions that are scored in all windows.
std::uint64_t scored_positions(std::span<const Window> windows);

/// Checks windows that came from a file: positions inside, ids inside the vocabulary.
Status check_windows(std::span<const Window> windows, std::int64_t vocabulary, std::size_t texts);

/// numpy.random.RandomState(seed).permutation(n): MT19937 and masked rejection.
std::vector<std::size_t> numpy_permutation(std::uint32_t seed, std::size_t n);

}  // namespace mlxmill::evaluate
