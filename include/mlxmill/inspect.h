// Looking into a model folder or a single safetensors file. Reads headers only.
#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

#include "mlxmill/dtype.h"
#include "mlxmill/result.h"

namespace mlxmill {

struct InspectedTensor {
  std::string name;
  DType dtype;
  std::vector<std::int64_t> shape;
  std::string file;
  std::uint64_t bytes = 0;
  /// For a quantized weight "affine 4-bit, groups of 64", "gptq 4-bit, groups of 128"; else empty.
  std::string coding;
};

/// Share of a model that is stored one way.
struct CodingShare {
  std::string coding;  ///< "affine 4-bit, groups of 64", "BF16", ...
  std::uint64_t modules = 0;
  std::uint64_t parameters = 0;
  std::uint64_t bytes = 0;
};

struct ModelInfo {
  std::string kind;        ///< "Hugging Face checkpoint", "MLX model", "MLX quantized model",
                           ///< "safetensors file", "GGUF model".
  std::string model_type;  ///< Empty for a single file.
  std::string family;      ///< Declaration that serves it; empty when none does.
  std::vector<InspectedTensor> tensors;
  std::vector<CodingShare> codings;                           ///< Largest first.
  std::vector<std::pair<std::string, std::uint64_t>> files;   ///< Weight files with bytes.
  std::vector<std::pair<std::string, std::string>> metadata;  ///< Of the first file.
  std::uint64_t parameters = 0;
  std::uint64_t bytes = 0;
  double bits_per_weight = 0;
};

/// Inspects a folder with config.json, one .safetensors file, or a GGUF file.
/// Errors: as for opening a checkpoint.
Result<ModelInfo> inspect_model(const std::filesystem::path& path);

}  // namespace mlxmill
