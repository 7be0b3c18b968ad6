// How far a candidate's weights and outputs are from the reference's, module by module, streamed.
#pragma once

#include <filesystem>
#include <functional>
#include <vector>

#include "measure/input_sample.h"
#include "mlxmill/evaluate.h"
#include "mlxmill/result.h"

namespace mlxmill::measure {

/// Called now and then with modules done and in all; false stops.
using LayerProgress = std::function<bool(std::size_t done, std::size_t total)>;

/// Errors of every matrix that both models have, in the candidate's order. Each may be a Hugging
/// Face checkpoint, an MLX folder or a GGUF file. `inputs`: what reached the reference's modules;
/// those it holds get errors of outputs (measure/output_error.h) too. Memory: one unit of 256 Ki
/// weights of each per worker, and OutputError's. The result does not depend on `threads`.
/// Errors: those of opening; kInvalidInput when the models have no module in common or shapes
/// differ; kCancelled.
Result<std::vector<LayerError>> layer_errors(const std::filesystem::path& candidate,
                                             const std::filesystem::path& reference,
                                             const InputSample& inputs, int threads,
                                             const LayerProgress& progress);

}  // namespace mlxmill::measure
