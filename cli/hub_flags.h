// Flags of every command that takes a model from the Hub, and the model they name.
#pragma once

#include <CLI/CLI.hpp>
#include <functional>
#include <optional>
#include <string>

#include "mlxmill/hub.h"
#include "mlxmill/progress.h"
#include "progress_line.h"

namespace mlxmill::cli {

struct HubArgs {
  std::optional<std::string> revision, file;
  std::optional<int> connections;
};

void add_hub_flags(CLI::App* app, HubArgs& args);

/// Whether SOURCE is to be fetched: a Hub name, and no such path here.
bool is_remote(const std::string& source);

HubOptions hub_options(const HubArgs& args);

/// Callbacks that draw on `progress` and hand warnings on.
Callbacks progress_callbacks(ProgressLine& progress, bool quiet,
                             std::function<void(std::string_view)> warn);

/// Fetches the model, with progress. The caller finishes the line.
Result<HubModel> fetch_model(const std::string& name, const HubArgs& args,
                             const Callbacks& callbacks);

}  // namespace mlxmill::cli
