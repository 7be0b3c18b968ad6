// The RoPE scaling of Llama 3, which a GGUF file holds only as factors of frequencies.
#pragma once

#include <span>

#include "base/value.h"
#include "mlxmill/result.h"

namespace mlxmill::gguf {

/// The settings whose factors are these: an object with factor, low_freq_factor, high_freq_factor
/// and original_max_position_embeddings. `factors`: one for each pair of the rotary dimensions;
/// `base`: rope_theta. Every number is computed again and compared. Errors: kUnsupported when no
/// published kind of settings gives these factors.
Result<base::Value> llama3_rope_of(std::span<const float> factors, double base);

}  // namespace mlxmill::gguf
