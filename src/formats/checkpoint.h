// A model folder on disk, as Hugging Face or MLX lay it out: config, shards, the files beside them.
#pragma once

#include <cstdint>
#include <filesystem>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "base/ggml_type.h"
#include "base/value.h"
#include "formats/model_folder.h"
#include "formats/safetensors.h"
#include "io/file.h"
#include "mlxmill/result.h"

namespace mlxmill::formats {

/// One weight file of a checkpoint, open for reading.
struct Shard {
  std::string name;  ///< File name inside the folder.
  io::File file;
  std::uint64_t file_bytes = 0;
  std::uint64_t data_begin = 0;                 ///< Bytes before the data of a safetensors file.
  std::map<std::string, std::string> metadata;  ///< Of a safetensors file.
};

/// A tensor and the shard it lies in.
struct CheckpointTensor {
  StoredTensor tensor;  ///< `begin` and `end` are those of its storage, which may be larger.
  std::size_t shard = 0;
  /// A window over the storage, as in TorchTensor; row-major from its start where there are no
  /// strides.
  std::int64_t offset = 0;
  base::Shape strides = {};
  /// The storage holds rows of such blocks; `dtype` means nothing then.
  std::optional<base::GgmlType> blocks = std::nullopt;
};

/// An opened checkpoint. Nothing but headers and small files has been read.
struct Checkpoint {
  std::filesystem::path folder;
  base::Value config;  ///< config.json with generation_config.json's eos_token_id taken over, as
                       ///< mlx-lm does.
  std::vector<Shard> shards;              ///< In file name order.
  std::vector<CheckpointTensor> tensors;  ///< Shard by shard, in data order.
  std::uint64_t weight_bytes = 0;         ///< Sum of the shards' file sizes.
};

/// Opens a folder. Without an index the shards are `model*.safetensors`, as in mlx-lm; with one,
/// exactly the files it names. Index entries must be plain file names that stay in the folder (a
/// link may lead out only inside a Hub cache: snapshots/REV/NAME to ../../blobs/HASH). Errors:
/// kNotFound without folder or config.json or weights; kUnsupported when there are only pickle
/// (.bin, .pt) or GGUF weights; kInvalidInput for damaged JSON, a missing shard, an index that
/// names an absolute path, `..` or a link that leaves the folder, an index that puts a tensor where
/// it is not, the same tensor in two shards. `remote`: as for ModelFolder::open().
Result<Checkpoint> open_checkpoint(const std::filesystem::path& folder, RemoteFiles remote = {});

/// Reads config.json alone.
Result<base::Value> read_config(const std::filesystem::path& folder);

/// Reads config.json and takes over generation_config.json's eos_token_id, as mlx-lm's load_config
/// does. A generation_config.json that is no JSON object is passed over, again as there.
Result<base::Value> load_config(const std::filesystem::path& folder);

/// The files of a checkpoint to copy beside the weights, sorted: tokenizer, template, processor and
/// generation files,
/// *.py, licence texts; never weights, indexes, config.json, README.md or hidden files. Names are
/// relative to the folder and plain, but for those below additional_chat_templates/. Errors:
/// kInvalidInput for a link that leaves the folder.
Result<std::vector<std::string>> files_to_copy(const std::filesystem::path& folder);

/// Whether files_to_copy() takes a file of that path in a folder, by its name alone.
bool is_copied_file(std::string_view path);

}  // namespace mlxmill::formats
