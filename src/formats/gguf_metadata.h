// The key-value pairs of a GGUF header.
#pragma once

#include <cstdint>
#include <string_view>

#include "base/value.h"
#include "formats/gguf_bytes.h"
#include "mlxmill/result.h"

namespace mlxmill::formats {

/// Reads `count` pairs into an object. Errors: kInvalidInput naming the key.
Result<base::Value> read_gguf_metadata(GgufBytes& bytes, std::uint64_t count);

/// A key or tensor name: UTF-8, not empty, no control characters. `what` is "a key" or the like.
Result<std::string> read_gguf_name(GgufBytes& bytes, std::string_view what);

}  // namespace mlxmill::formats
