// model.safetensors.index.json and pytorch_model.bin.index.json: which tensor lies in which shard.
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
/// is no plain file name with that ending.
Result<ShardIndex> parse_shard_index(std::string_view text,
                                     std::string_view ending = ".safetensors");

}  // namespace mlxmill::formats
