// The bytes that a token stands for, from its spelling and the tokenizer's decoder.
#pragma once

#include <string>
#include <string_view>

#include "base/value.h"

namespace mlxmill::tokenize {

/// How a decoder of tokenizer.json reads spellings.
struct Spelling {
  bool byte_level = false;     ///< A character for each byte.
  bool byte_fallback = false;  ///< "<0x0A>" is a byte.
  std::string space;           ///< What stands for a space, U+2581 mostly; empty: a space.
};

Spelling spelling_of(const base::Value& decoder);

/// Bytes in the middle of a text: what a decoder does to its beginning is left out.
std::string bytes_of(std::string_view token, const Spelling& spelling);

}  // namespace mlxmill::tokenize
