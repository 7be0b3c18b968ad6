// Byte-level BPE: how texts are split into words before it, and how it spells bytes.
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "base/value.h"

namespace mlxmill::vocabulary {

/// Ways to split a text into words, named after models that do.
enum class Split : std::uint8_t {
  kGpt2,        ///< ByteLevel's own expression.
  kGpt2Digits,  ///< The same with every digit for itself.
  kLlama3,
  kQwen2,
  kQwen35,
  kTekken,
  kGpt4o,
  kDeepseek3,
  kBailing,
  kSeed,
  kExaoneMoe,
  kKimi,
};

/// The pre-tokenizer of tokenizer.json that splits so and spells the bytes of words as characters.
/// `prefix`: a text that does not begin with a space gets one.
base::Value byte_level_words(Split split, bool prefix);

/// The step "ByteLevel" of tokenizer.json.
base::Object byte_level_step(bool prefix, bool use_regex);

/// The bytes of a word that byte-level BPE has spelled: one character of U+0021 to U+0143 for each.
/// Nothing when another character is among them. Source: bytes_to_unicode of openai/gpt-2.
std::optional<std::string> byte_level_bytes(std::string_view spelled);

}  // namespace mlxmill::vocabulary
