// Checking a model folder that mlxmill wrote.
#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

#include "mlxmill/progress.h"
#include "mlxmill/result.h"

namespace mlxmill {

struct VerifyOptions {
  std::filesystem::path folder;
  int threads = 0;
};

/// What was checked. `problems` empty means every check passed.
struct VerifyReport {
  bool has_manifest = false;  ///< Without one, hashes cannot be checked; all else is.
  std::uint64_t files = 0;
  std::uint64_t tensors = 0;
  std::uint64_t bytes = 0;
  std::uint64_t quantized_modules = 0;
  std::vector<std::string> problems;  ///< One line each, naming file or tensor; at most 100.
  std::uint64_t problem_count = 0;
  double seconds = 0;
};

/// Re-reads every byte: headers and index; every file and tensor against the manifest's hashes;
/// shapes and dtypes against config.json's quantization and the family's declaration; scales and
/// biases finite, E8M0/E4M3 scale codes legal. Errors: only when the folder cannot be opened at
/// all.
Result<VerifyReport> verify_model(const VerifyOptions& options, const Callbacks& callbacks = {});

}  // namespace mlxmill
