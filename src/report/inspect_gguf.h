// What is in a GGUF file.
#pragma once

#include <filesystem>

#include "mlxmill/inspect.h"
#include "mlxmill/result.h"

namespace mlxmill::report {

/// The first part of a split model stands for all. `coding` of a tensor is its ggml type. Errors:
/// those of formats::open_gguf.
Result<ModelInfo> inspect_gguf(const std::filesystem::path& path);

}  // namespace mlxmill::report
