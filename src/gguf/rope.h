// RoPE settings that a GGUF file holds only as factors of frequencies.
#pragma once

#include <cstdint>
#include <optional>
#include <span>

#include "base/value.h"
#include "mlxmill/result.h"

namespace mlxmill::gguf {

/// The settings of Llama 3's scaling whose factors are these: an object with factor,
/// low_freq_factor, high_freq_factor and original_max_position_embeddings. `factors`: one for each
/// pair of the rotary dimensions; `base`: rope_theta. Every number is computed again and compared.
/// Errors: kUnsupported when no published kind of settings gives these factors.
Result<base::Value> llama3_rope_of(std::span<const float> factors, double base);

/// How many of the frequencies are turned at all when the factors are those of Gemma 4's
/// "proportional" RoPE: 1 for the first ones, 1e30 for the others. Nothing for other factors.
std::optional<std::int64_t> turned_frequencies(std::span<const float> factors);

}  // namespace mlxmill::gguf
