// Token ids and logits as files: what two engines need to be compared.
#pragma once

#include <cstdint>
#include <filesystem>
#include <span>
#include <string>
#include <vector>

#include "mlxmill/result.h"
#include "mlxmill/run.h"

namespace mlxmill {

/// Token ids in `text`, or in the file of that name: integers between blanks, line ends or commas,
/// perhaps in brackets. Errors: kInvalidInput for anything else, for no ids, and beyond ten million
/// of them; kNotFound for what is neither a file nor a number.
Result<std::vector<std::int32_t>> read_token_ids(const std::string& text);

/// Writes a safetensors file with `ids` I32 [n] and `logits` F32 [positions, vocabulary].
Status write_logits(const std::filesystem::path& file, std::span<const std::int32_t> ids,
                    const Logits& logits);

}  // namespace mlxmill
