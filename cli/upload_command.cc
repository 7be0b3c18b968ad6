// mlxmill upload: a model folder to the Hub.
#include <fmt/format.h>

#include <memory>

#include "args.h"
#include "command.h"
#include "exit_code.h"
#include "hub_flags.h"
#include "interrupt.h"
#include "json_output.h"
#include "mlxmill/upload.h"
#include "table.h"
#include "terminal.h"

namespace mlxmill::cli {
namespace {

constexpr int kMostUploads = 16;

struct UploadArgs {
  std::optional<std::string> folder, repo, message;
  std::optional<int> connections;
  bool create = false, make_private = false, force = false, json = false, quiet = false;
};

std::string report_text(const UploadReport& report) {
  Summary summary;
  summary.add("model", printable(report.url));
  summary.add("commit",
              report.commit.empty() ? "none: nothing had changed" : printable(report.commit));
  summary.add("files", fmt::format("{}, {}; {} changed, {} of large files sent",
                                   plural(report.files, "file"), format_bytes(report.bytes),
                                   report.changed, format_bytes(report.bytes_sent)));
  summary.add("time", format_seconds(report.seconds));
  return summary.text();
}

int run_upload(const CLI::App& app, const UploadArgs& args) {
  if (!args.folder) return print_error(missing_argument(app, kFolderValue));
  if (!args.repo) return print_error(missing_argument(app, "NAME"));
  UploadOptions options;
  options.folder = without_trailing_slash(*args.folder);
  options.repo = *args.repo;
  options.create = args.create || args.make_private;
  options.make_private = args.make_private;
  options.force = args.force;
  options.message = args.message.value_or("");
  options.connections = args.connections.value_or(options.connections);
  ProgressLine progress(progress_style(args.quiet));
  const Callbacks callbacks = progress_callbacks(
      progress, args.quiet, [&](std::string_view text) { progress.message("warning", text); });
  catch_interrupts();
  const Result<UploadReport> report = upload_folder(options, callbacks);
  progress.finish(report.has_value());
  if (!report) return print_error_or_interrupted(report.error());
  if (args.json) {
    print_json({{"url", report->url},
                {"commit", report->commit},
                {"files", report->files},
                {"changed", report->changed},
                {"bytes", report->bytes},
                {"bytes_sent", report->bytes_sent},
                {"seconds", report->seconds}});
  } else {
    print_out(report_text(*report));
  }
  return kExitOk;
}

}  // namespace

Command add_upload_command(CLI::App& root) {
  CLI::App* app = root.add_subcommand("upload", "Publish a model folder on the Hub, in one commit");
  const auto args = std::make_shared<UploadArgs>();
  add_text(app, kFolderValue, args->folder, kFolderValue, "a model folder, as convert makes it");
  add_text(app, "NAME", args->repo, "NAME", "owner/name");
  add_switch(app, "--create", args->create, "make the repository where there is none");
  add_switch(app, "--private", args->make_private, "the same, and only its owner sees it");
  add_switch(app, "--force", args->force,
             "replace what the repository holds; its weights that the folder lacks are deleted");
  add_text(app, "--message", args->message, "TEXT", "of the commit");
  add_integer(app, "--connections", args->connections, 1, kMostUploads,
              "files or parts sent at once (default: 4)");
  add_switch(app, "--json", args->json, "print the result as JSON");
  add_switch(app, "--quiet", args->quiet, "no progress and no notes, only warnings and errors");
  return {app,
          {{"mlxmill upload sample-4bit me/sample-4bit --create",
            "make the repository and fill it; the same command goes on after an interruption"}},
          [app, args] { return run_upload(*app, *args); }};
}

}  // namespace mlxmill::cli
