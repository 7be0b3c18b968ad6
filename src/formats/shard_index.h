// model.safetensors.index.json: which tensor lies in which shard.
#pragma once

#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "mlxmill/result.h"

namespace mlxmill::formats {

/// A tensor's name and its shard's, sorted by tensor.
using ShardIndex = std::vector<std::pair<std::string, std::string>>;

/// Parses an index. Errors: kInvalidInput for damaged JSON, no or an empty weight_map, a shard that
/// is no plain file name ending in ".safetensors".
Result<ShardIndex> parse_shard_index(std::string_view text);

}  // namespace mlxmill::formats
