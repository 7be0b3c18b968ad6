// Which files of a folder hold a checkpoint's weights.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "formats/model_folder.h"
#include "formats/shard_index.h"
#include "mlxmill/result.h"

namespace mlxmill::formats {

struct ShardList {
  bool torch = false;              ///< PyTorch files; else safetensors.
  std::vector<std::string> names;  ///< Sorted.
  std::optional<ShardIndex> index;
  std::string index_name;  ///< Of the index.
};

/// Tells why a folder without weights that are read has none. Errors: kUnsupported when it holds
/// other weights.
Status check_weight_kind(const ModelFolder& folder);

/// The shards: those of the index, else model*.safetensors, as in mlx-lm; where there is no
/// safetensors file at all, those of pytorch_model.bin.index.json or pytorch_model*.bin. Errors:
/// kNotFound without any; kInvalidInput for a bad index or a numbered shard that is missing.
Result<ShardList> find_shards(const ModelFolder& folder);

}  // namespace mlxmill::formats
