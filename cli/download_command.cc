// mlxmill download: a model of the Hub into the cache.
#include <fmt/format.h>

#include <memory>

#include "args.h"
#include "command.h"
#include "exit_code.h"
#include "hub_flags.h"
#include "json_output.h"
#include "table.h"
#include "terminal.h"

namespace mlxmill::cli {
namespace {

struct DownloadArgs {
  std::optional<std::string> name;
  HubArgs hub;
  bool json = false, quiet = false;
};

std::string model_text(const HubModel& model) {
  Summary summary;
  summary.add("model", fmt::format("{}, {} at commit {}", printable(model.repo),
                                   printable(model.revision), model.commit));
  if (model.offline) {
    summary.add("files", "from the cache, nothing was asked of the Hub");
  } else {
    std::string bytes =
        fmt::format("{}, {}; {} downloaded", plural(model.files, "file"), format_bytes(model.bytes),
                    format_bytes(model.bytes_downloaded));
    if (model.bytes_resumed > 0)
      bytes +=
          fmt::format(", {} were there from an interrupted run", format_bytes(model.bytes_resumed));
    summary.add("files", bytes);
    std::string time = format_seconds(model.seconds);
    if (model.bytes_downloaded > 0 && model.seconds > 0) {
      time +=
          fmt::format(", {}/s", format_bytes(static_cast<std::uint64_t>(
                                    static_cast<double>(model.bytes_downloaded) / model.seconds)));
    }
    summary.add("time", time);
  }
  summary.add("path", printable(model.path.string()));
  return summary.text();
}

Json model_json(const HubModel& model) {
  return {{"repo", model.repo},
          {"revision", model.revision},
          {"commit", model.commit},
          {"path", model.path.string()},
          {"offline", model.offline},
          {"files", model.files},
          {"bytes", model.bytes},
          {"bytes_downloaded", model.bytes_downloaded},
          {"bytes_resumed", model.bytes_resumed},
          {"seconds", model.seconds}};
}

int run_download(const CLI::App& app, const DownloadArgs& args) {
  if (!args.name) return print_error(missing_argument(app, "NAME"));
  ProgressLine progress(progress_style(args.quiet));
  const Callbacks callbacks = progress_callbacks(
      progress, args.quiet, [&](std::string_view text) { progress.message("warning", text); });
  const Result<HubModel> model = fetch_model(*args.name, args.hub, callbacks);
  progress.finish(model.has_value());
  if (!model) return print_error_or_interrupted(model.error());
  if (args.json) {
    print_json(model_json(*model));
  } else {
    print_out(model_text(*model));
  }
  return kExitOk;
}

}  // namespace

Command add_download_command(CLI::App& root) {
  CLI::App* app = root.add_subcommand(
      "download", "Fetch a model of the Hub into the cache that huggingface_hub shares");
  const auto args = std::make_shared<DownloadArgs>();
  add_text(
      app, "NAME", args->name, "NAME",
      "owner/name, owner/name@revision, owner/name:Q8_0, hf://owner/name, or a page of the Hub");
  add_hub_flags(app, args->hub);
  add_switch(app, "--json", args->json, "print the result as JSON");
  add_switch(app, "--quiet", args->quiet, "no progress and no notes, only warnings and errors");
  return {
      app,
      {{"mlxmill download Qwen/Qwen3-0.6B", "what a conversion needs of the model, and no more"},
       {"mlxmill download ggml-org/gemma-3-1b-it-GGUF:Q8_0", "one GGUF model of several"}},
      [app, args] { return run_download(*app, *args); }};
}

}  // namespace mlxmill::cli
