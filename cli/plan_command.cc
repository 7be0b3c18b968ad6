// mlxmill plan: sizes, memory and times before anything large is fetched.
#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <memory>

#include "args.h"
#include "command.h"
#include "exit_code.h"
#include "hub_flags.h"
#include "interrupt.h"
#include "mlxmill/plan.h"
#include "plan_output.h"
#include "terminal.h"

namespace mlxmill::cli {
namespace {

constexpr int kMostContext = 1 << 30;
constexpr std::uint64_t kLeastRam = std::uint64_t{1} << 20;

struct PlanArgs {
  std::optional<std::string> model, architecture_file;
  std::vector<std::string> group_sizes;
  std::optional<int> context, kv_bits;
  std::optional<std::uint64_t> ram;
  HubArgs hub;
  bool no_probe = false, no_search = false, json = false, quiet = false;
};

/// "32", "32,128" or "all".
Result<std::vector<int>> group_sizes(const std::vector<std::string>& texts) {
  std::vector<int> sizes;
  for (const std::string& text : texts) {
    if (text == "all") {
      sizes.insert(sizes.end(), {32, 64, 128});
      continue;
    }
    for (std::size_t begin = 0; begin <= text.size();) {
      const std::size_t end = std::min(text.find(',', begin), text.size());
      int size = 0;
      const auto [stop, error] = std::from_chars(text.data() + begin, text.data() + end, size);
      if (error != std::errc() || stop != text.data() + end) {
        return Error(Code::kUsage,
                     fmt::format("--group-size {}; expected 32, 64, 128, several with "
                                 "commas between, or all",
                                 printable(text)));
      }
      sizes.push_back(size);
      begin = end + 1;
    }
  }
  return sizes;
}

Result<PlanOptions> plan_options(const PlanArgs& args) {
  PlanOptions options;
  options.model = without_trailing_slash(*args.model);
  options.hub = hub_options(args.hub);
  MLXMILL_ASSIGN(options.group_sizes, group_sizes(args.group_sizes));
  options.context = args.context.value_or(static_cast<int>(options.context));
  options.kv_bits = args.kv_bits;
  options.ram_bytes = args.ram.value_or(0);
  options.probe = !args.no_probe;
  options.search = !args.no_search;
  options.architecture_file = args.architecture_file.value_or("");
  return options;
}

int run_plan(const CLI::App& app, const PlanArgs& args) {
  if (!args.model) return print_error(missing_argument(app, "MODEL"));
  const Result<PlanOptions> options = plan_options(args);
  if (!options) return print_error(options.error());
  ProgressLine progress(progress_style(args.quiet));
  const Callbacks callbacks = progress_callbacks(
      progress, args.quiet, [&](std::string_view text) { progress.message("warning", text); });
  catch_interrupts();
  const Result<ModelPlan> plan = plan_model(*options, callbacks);
  progress.finish(plan.has_value());
  if (!plan) return print_error_or_interrupted(plan.error());
  if (args.json) {
    print_plan_json(*plan);
  } else {
    print_out(plan_text(*plan));
  }
  return kExitOk;
}

}  // namespace

Command add_plan_command(CLI::App& root) {
  CLI::App* app = root.add_subcommand(
      "plan", "Show what each way to convert takes, before the model is fetched");
  const auto args = std::make_shared<PlanArgs>();
  add_text(app, "MODEL", args->model, "MODEL",
           "a folder, a GGUF file, or a model of the Hub, of which only headers are fetched");
  add_list(app, "--group-size", args->group_sizes, "N",
           "weights that share a scale in affine rows: 32, 64, 128, several with commas between, "
           "or all (default: 64)");
  add_integer(app, "--context", args->context, 1, kMostContext,
              "tokens that memory is counted for (default: 4096)");
  add_integer(app, "--kv-bits", args->kv_bits, 2, 8,
              "keys and values are kept with so many bits (default: floats)");
  add_size(app, "--ram", args->ram, kLeastRam,
           "plan for a Mac with so much unified memory, for example 16G (default: this machine)");
  add_switch(app, "--no-probe", args->no_probe,
             "do not measure: no weights are read and no times given");
  add_switch(app, "--no-search", args->no_search, "do not ask the Hub what others have published");
  add_text(app, "--architecture", args->architecture_file, kFileValue,
           "a declaration of a model family that comes before the built-in ones");
  add_hub_flags(app, args->hub);
  add_switch(app, "--json", args->json, "print the result as JSON");
  add_switch(app, "--quiet", args->quiet, "no progress and no notes, only warnings and errors");
  return {app,
          {{"mlxmill plan Qwen/Qwen3-0.6B", "what each number of bits takes, and who has made it"},
           {"mlxmill plan models/sample-llama --ram 16G --context 2048",
            "of a folder, for a Mac with 16 GiB"},
           {"mlxmill plan models/sample-llama --group-size all --no-probe --json",
            "every group size, for a program"}},
          [app, args] { return run_plan(*app, *args); }};
}

}  // namespace mlxmill::cli
