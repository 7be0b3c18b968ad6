// mlxmill verify: is every byte of a model folder as it should be.
#include <fmt/format.h>

#include <memory>

#include "args.h"
#include "command.h"
#include "exit_code.h"
#include "interrupt.h"
#include "json_output.h"
#include "mlxmill/verify.h"
#include "progress_line.h"
#include "table.h"
#include "terminal.h"

namespace mlxmill::cli {
namespace {

struct VerifyArgs {
  std::optional<std::string> folder;
  std::optional<int> threads;
  bool json = false, quiet = false;
};

std::string report_text(const std::string& folder, const VerifyReport& report) {
  std::string result;
  for (const std::string& problem : report.problems) {
    result += "problem: " + printable(problem) + "\n";
  }
  if (report.problem_count > report.problems.size()) {
    result += fmt::format("problem: {} more\n",
                          format_exact(report.problem_count - report.problems.size()));
  }
  Summary summary;
  summary.add("checked", fmt::format("{}: {}, {}, {} quantized", printable(folder),
                                     plural(report.files, "file"), plural(report.tensors, "tensor"),
                                     plural(report.quantized_modules, "module")));
  summary.add("hashes", report.has_manifest ? "compared with the manifest"
                                            : "not compared: the folder has no manifest");
  const double rate =
      report.seconds > 0 ? static_cast<double>(report.bytes) / 1e9 / report.seconds : 0;
  summary.add("time", fmt::format("{} for {}, {:.2f} GB/s", format_seconds(report.seconds),
                                  format_bytes(report.bytes), rate));
  summary.add("result", report.problem_count == 0 ? "ok" : plural(report.problem_count, "problem"));
  return result + summary.text();
}

Json report_json(const std::string& folder, const VerifyReport& report) {
  return {{"folder", folder},
          {"ok", report.problem_count == 0},
          {"has_manifest", report.has_manifest},
          {"files", report.files},
          {"tensors", report.tensors},
          {"quantized_modules", report.quantized_modules},
          {"bytes", report.bytes},
          {"problem_count", report.problem_count},
          {"problems", report.problems},
          {"seconds", report.seconds}};
}

int run_verify(const CLI::App& app, const VerifyArgs& args) {
  if (!args.folder) return print_error(missing_argument(app, kFolderValue));
  VerifyOptions options;
  options.folder = without_trailing_slash(*args.folder);
  options.threads = args.threads.value_or(0);
  ProgressLine progress(progress_style(args.quiet));
  Callbacks callbacks;
  callbacks.progress = [&](const Progress& now) { progress.update(now); };
  callbacks.warning = [&](std::string_view text) { progress.message("warning", text); };
  callbacks.note = [&](std::string_view text) {
    if (!args.quiet) progress.message("note", text);
  };
  callbacks.cancelled = interrupted;
  catch_interrupts();
  const Result<VerifyReport> report = verify_model(options, callbacks);
  progress.finish(report.has_value());
  if (!report) {
    if (report.error().code() != Code::kCancelled) return print_error(report.error());
    print_message("interrupted", "nothing was changed");
    return kExitInterrupted;
  }
  if (args.json) {
    print_json(report_json(*args.folder, *report));
  } else {
    print_out(report_text(*args.folder, *report));
  }
  return report->problem_count == 0 ? kExitOk : kExitVerifyFailed;
}

}  // namespace

Command add_verify_command(CLI::App& root) {
  CLI::App* app =
      root.add_subcommand("verify", "Re-read and check every byte of a converted model");
  const auto args = std::make_shared<VerifyArgs>();
  add_text(app, kFolderValue, args->folder, kFolderValue, "folder that convert made");
  add_integer(app, "--threads", args->threads, 1, kMostThreads, "default: every core");
  add_switch(app, "--json", args->json, "print the result as JSON");
  add_switch(app, "--quiet", args->quiet, "no progress and no notes, only warnings and errors");
  return {app,
          {{"mlxmill verify sample-4bit",
            "hashes, shapes against config.json, every scale; exit code 7 when something is wrong"},
           {"mlxmill verify sample-4bit --json", "for a program"}},
          [app, args] { return run_verify(*app, *args); }};
}

}  // namespace mlxmill::cli
