// How the next token is chosen from a model's logits. Names and meanings are mlx-lm's.
#pragma once

#include <cstdint>
#include <utility>
#include <vector>

namespace mlxmill {

/// Changes to the logits before sampling; `context` counts the last tokens that are looked at.
struct Penalties {
  /// Logits of repeated tokens are divided by it where positive, multiplied where negative (Keskar
  /// et al. 2019, CTRL). 0 or 1: none.
  double repetition = 0;
  int repetition_context = 20;
  /// Subtracted once from every token that occurred.
  double presence = 0;
  int presence_context = 20;
  /// Subtracted for each time the token occurred.
  double frequency = 0;
  int frequency_context = 20;
};

struct SamplingOptions {
  /// 0: always the likeliest token, the first of equals; the fields below are then without effect.
  double temperature = 0;
  /// Nucleus: the smallest set of likeliest tokens with this much probability. 0 or 1: all.
  double top_p = 0;
  /// Tokens with less than this share of the likeliest token's probability are left out. 0: none.
  double min_p = 0;
  /// As many of the likeliest tokens stay, whatever min_p says.
  int min_tokens_to_keep = 1;
  /// Only so many of the likeliest tokens. 0: all.
  int top_k = 0;
  /// With this probability all tokens above `xtc_threshold` but the least likely of them are left
  /// out ("exclude top choices").
  double xtc_probability = 0;
  double xtc_threshold = 0.1;
  /// Tokens that XTC never leaves out: line ends, ends of turns.
  std::vector<int> xtc_special_tokens;
  /// Added to the logits of tokens.
  std::vector<std::pair<int, double>> logit_bias;
  Penalties penalties;
  /// The same seed and logits give the same tokens on every machine.
  std::uint64_t seed = 0;
};

}  // namespace mlxmill
