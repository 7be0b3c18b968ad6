// The arguments of every command that runs a model.
#pragma once

#include <CLI/CLI.hpp>
#include <cstdint>
#include <optional>
#include <string>

#include "mlxmill/run.h"

namespace mlxmill::cli {

/// The heading that the flags of ModelArgs stand under in --help.
inline constexpr const char* kHowItRuns = "How the model runs";

struct ModelArgs {
  std::optional<std::string> path, dtype, architecture;
  std::optional<int> context, kv_bits, kv_group_size, kv_start, prefill_step_size;
  std::optional<std::uint64_t> memory;
  bool int8_activations = false, quiet = false;
};

/// MODEL and the flags that say how it runs. `context`: what the help says of the default.
void add_model_arguments(CLI::App* app, ModelArgs& args,
                         const std::string& context = "as many as are needed");

/// The options that the arguments ask for, without callbacks.
ModelOptions model_options(const ModelArgs& args);

/// Opens the model with progress on stderr; warnings are printed. `context`: the tokens it is
/// needed for, where --context does not say more.
Result<Model> open_model(const ModelArgs& args, std::int64_t context);

}  // namespace mlxmill::cli
