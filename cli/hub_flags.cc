#include "hub_flags.h"

#include <filesystem>
#include <system_error>

#include "args.h"
#include "interrupt.h"

namespace mlxmill::cli {
namespace {

constexpr int kMostConnections = 64;

}  // namespace

void add_hub_flags(CLI::App* app, HubArgs& args) {
  const std::string group = "Models of the Hub";
  add_text(app, "--revision", args.revision, "REVISION",
           "branch, tag or commit (default: main); the same as owner/name@REVISION")
      ->group(group);
  add_text(app, "--file", args.file, "NAME",
           "a GGUF file of the repository, or a quantization such as Q8_0; the same as "
           "owner/name:NAME")
      ->group(group);
  add_integer(app, "--connections", args.connections, 1, kMostConnections,
              "requests at once (default: 8)")
      ->group(group);
}

bool is_remote(const std::string& source) {
  std::error_code ignored;
  return is_hub_name(source) && !std::filesystem::exists(source, ignored);
}

HubOptions hub_options(const HubArgs& args) {
  HubOptions options;
  options.revision = args.revision.value_or("");
  options.file = args.file.value_or("");
  options.connections = args.connections.value_or(options.connections);
  return options;
}

Callbacks progress_callbacks(ProgressLine& progress, bool quiet,
                             std::function<void(std::string_view)> warn) {
  Callbacks callbacks;
  callbacks.progress = [&progress](const Progress& now) { progress.update(now); };
  callbacks.warning = std::move(warn);
  callbacks.note = [&progress, quiet](std::string_view text) {
    if (!quiet) progress.message("note", text);
  };
  callbacks.cancelled = interrupted;
  return callbacks;
}

Result<HubModel> fetch_model(const std::string& name, const HubArgs& args,
                             const Callbacks& callbacks) {
  catch_interrupts();
  return download_model(name, hub_options(args), callbacks);
}

}  // namespace mlxmill::cli
