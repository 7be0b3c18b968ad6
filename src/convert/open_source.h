// Whatever a model comes in, as a checkpoint with plain weights.
#pragma once

#include <filesystem>
#include <string>
#include <utility>
#include <vector>

#include "formats/checkpoint.h"
#include "mlxmill/result.h"
#include "sources/decode.h"

namespace mlxmill::convert {

struct OpenedSource {
  formats::Checkpoint checkpoint;
  sources::DecodedSource weights;   ///< Views count tensors as `checkpoint` does.
  std::vector<std::string> copies;  ///< Files of the source to copy, relative to it.
  /// Files that are made from the source's metadata: name and text.
  std::vector<std::pair<std::string, std::string>> made;
};

/// Opens a folder in Hugging Face or MLX layout, or a GGUF file. `repack`: sources::decode().
/// `remote`: formats::ModelFolder::open().
/// Errors: those of formats::open_checkpoint, formats::open_gguf, sources::decode and
/// gguf::import_gguf.
Result<OpenedSource> open_source(const std::filesystem::path& path, bool repack,
                                 formats::RemoteFiles remote = {});

}  // namespace mlxmill::convert
