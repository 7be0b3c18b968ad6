// mlxmill logits: what a model says of given tokens, as a file.
#include <fmt/format.h>

#include <memory>

#include "args.h"
#include "command.h"
#include "exit_code.h"
#include "json_output.h"
#include "mlxmill/logits.h"
#include "mlxmill/run.h"
#include "model_args.h"
#include "table.h"
#include "terminal.h"

namespace mlxmill::cli {
namespace {

struct LogitsArgs {
  ModelArgs model;
  std::optional<std::string> ids, output;
  std::optional<int> steps;
  bool json = false;
};

/// All tokens but the last `steps` at once, those one by one.
Result<Logits> run_model(const Model& model, std::span<const std::int32_t> ids, std::size_t steps) {
  ModelCache cache = model.new_cache();
  Logits all;
  const std::size_t prompt = ids.size() - std::min(steps, ids.size());
  for (std::size_t done = 0; done < ids.size();) {
    const std::size_t n = done < prompt ? prompt : 1;
    MLXMILL_ASSIGN(Logits part, model.run(ids.subspan(done, n), cache, LogitsOf::kAll));
    all.values.insert(all.values.end(), part.values.begin(), part.values.end());
    all.positions += part.positions;
    all.vocabulary = part.vocabulary;
    done += n;
  }
  return all;
}

int run_logits(const CLI::App& app, const LogitsArgs& args) {
  if (!args.model.path) return print_error(missing_argument(app, "MODEL"));
  if (!args.ids) return print_error(missing_argument(app, "--ids"));
  if (!args.output) return print_error(missing_argument(app, "-o"));
  const auto ids = read_token_ids(*args.ids);
  if (!ids) return print_error(ids.error());
  const Result<Model> model = open_model(args.model, static_cast<std::int64_t>(ids->size()));
  if (!model) return print_error(model.error());
  const auto logits = run_model(*model, *ids, static_cast<std::size_t>(args.steps.value_or(0)));
  if (!logits) return print_error(logits.error());
  const Status written = write_logits(*args.output, *ids, *logits);
  if (!written) return print_error(written.error());
  const ModelFacts& facts = model->facts();
  if (args.json) {
    print_json({{"output", *args.output},
                {"positions", logits->positions},
                {"vocabulary", logits->vocabulary},
                {"family", facts.family},
                {"dtype", torch_dtype_name(facts.dtype)},
                {"weight_bytes", facts.weight_bytes}});
  } else {
    print_out(fmt::format("{}: logits of {} over {} tokens, computed in {}\n", *args.output,
                          plural(logits->positions, "position"), format_exact(logits->vocabulary),
                          torch_dtype_name(facts.dtype)));
  }
  return kExitOk;
}

}  // namespace

Command add_logits_command(CLI::App& root) {
  CLI::App* app = root.add_subcommand("logits", "Run a model over token ids; write its logits");
  const auto args = std::make_shared<LogitsArgs>();
  add_model_arguments(app, args->model);
  add_text(app, "--ids", args->ids, "IDS|FILE",
           "token ids, or a file of them: integers between blanks or commas");
  add_text(app, "-o,--output", args->output, kFileValue,
           "safetensors file to write: ids, and logits as float32 [positions, vocabulary]");
  constexpr int kMostSteps = 1'000'000;
  add_integer(app, "--steps", args->steps, 0, kMostSteps,
              "run the last N tokens one by one over the cache, the others at once (default: 0)");
  add_switch(app, "--json", args->json, "print the result as JSON");
  return {app,
          {{"mlxmill logits models/sample-llama --ids 1,403,262 -o logits.safetensors",
            "what the model says after each of three tokens; --dtype float32 to compare engines"}},
          [app, args] { return run_logits(*app, *args); }};
}

}  // namespace mlxmill::cli
