// mlxmill eval: what quantization cost.
#include <fmt/format.h>

#include <memory>

#include "args.h"
#include "command.h"
#include "eval_output.h"
#include "exit_code.h"
#include "interrupt.h"
#include "json_output.h"
#include "mlxmill/evaluate.h"
#include "progress_line.h"
#include "terminal.h"

namespace mlxmill::cli {
namespace {

constexpr int kMostWindowTokens = 1 << 20;
constexpr int kMostWindows = 1 << 24;

struct EvalArgs {
  std::vector<std::string> candidates, logits, texts;
  std::optional<std::string> reference, reference_logits, field, protocol, encoding, cache, html;
  std::optional<int> context, stride, samples, seed, top, worst, threads;
  bool no_cache = false, layers = false, layers_only = false, weights_only = false, card = false;
  bool int8_activations = false;
  bool json = false, quiet = false;
};

EvalOptions options_of(const EvalArgs& args) {
  EvalOptions o;
  for (const auto* paths : {&args.candidates, &args.logits}) {
    for (const std::string& path : *paths) {
      o.candidates.emplace_back(without_trailing_slash(path));
    }
  }
  if (args.reference) o.reference = without_trailing_slash(*args.reference);
  if (args.reference_logits) o.reference = *args.reference_logits;
  for (const std::string& path : args.texts) o.texts.emplace_back(path);
  if (args.field) o.jsonl_field = *args.field;
  if (args.protocol) o.protocol = *protocol_from_name(*args.protocol);
  if (args.encoding) o.encoding = *encoding_from_name(*args.encoding);
  if (args.cache) o.cache = *args.cache;
  if (args.no_cache) o.cache = std::filesystem::path();
  o.context = args.context.value_or(o.context);
  o.stride = args.stride;
  o.samples = args.samples;
  o.seed = static_cast<std::uint32_t>(args.seed.value_or(static_cast<int>(o.seed)));
  o.cache_top = args.top.value_or(o.cache_top);
  o.worst = args.worst.value_or(o.worst);
  o.threads = args.threads.value_or(0);
  o.int8_activations = args.int8_activations;
  o.layers = args.layers;
  o.layers_only = args.layers_only;
  o.weights_only = args.weights_only;
  return o;
}

Status check(const CLI::App& app, const EvalArgs& args) {
  if (args.candidates.empty() && args.logits.empty()) return missing_argument(app, "CANDIDATE");
  if (args.reference && args.reference_logits) {
    return Error(Code::kUsage, "eval: give either --reference or --reference-logits");
  }
  if (args.cache && args.no_cache) {
    return Error(Code::kUsage, "eval: --cache and --no-cache contradict each other");
  }
  if (args.weights_only && args.layers_only) {
    return Error(Code::kUsage, "eval: --weights-only and --layers-only contradict each other");
  }
  if (args.card && (args.weights_only || args.layers_only || !args.logits.empty())) {
    return Error(Code::kUsage, "eval: --card takes models that are run");
  }
  if (args.int8_activations && (args.weights_only || args.layers_only || !args.logits.empty())) {
    return Error(Code::kUsage, "eval: --int8-activations takes models that are run");
  }
  return {};
}

int finish(const EvalArgs& args, const EvalReport& report) {
  if (args.html) {
    const Status written = write_evaluation_html(report, *args.html);
    if (!written) return print_error(written.error());
  }
  if (args.card && report.complete) {
    for (const EvalModel& model : report.models) {
      const Status written = write_evaluation_card(report, model);
      if (!written) return print_error(written.error());
    }
  }
  if (args.json) {
    print_json(eval_json(report));
  } else {
    print_out(eval_text(report));
  }
  return report.complete ? kExitOk : kExitInterrupted;
}

int run_eval(const CLI::App& app, const EvalArgs& args) {
  const Status good = check(app, args);
  if (!good) return print_error(good.error());
  ProgressLine progress(progress_style(args.quiet));
  EvalCallbacks callbacks;
  callbacks.progress = [&](const EvalProgress& now) {
    progress.update(fmt::format("{} {}", now.phase, now.model), eval_progress_text(now));
  };
  callbacks.warning = [&](std::string_view text) { progress.message("warning", text); };
  callbacks.note = [&](std::string_view text) {
    if (!args.quiet) progress.message("note", text);
  };
  callbacks.cancelled = interrupted;
  catch_interrupts();
  const Result<EvalReport> report = evaluate_models(options_of(args), callbacks);
  progress.finish(report.has_value() && report->complete);
  if (report) return finish(args, *report);
  if (report.error().code() != Code::kCancelled) return print_error(report.error());
  print_message("interrupted", report.error().message() + "; the same command goes on");
  return kExitInterrupted;
}

void add_text_flags(CLI::App* app, EvalArgs& args) {
  add_list(app, "--text", args.texts, kFileValue,
           "text or .jsonl file, each a domain of its own; default: texts that come with mlxmill");
  add_text(app, "--jsonl-field", args.field, "NAME",
           "member of a .jsonl record that holds its text; default text");
  add_choice(app, "--protocol", args.protocol, {"strided", "llama-perplexity", "mlx_lm.perplexity"},
             "which tokens are scored; the last two give the numbers of those programs");
  add_integer(app, "--context", args.context, 2, kMostWindowTokens,
              "tokens of a window; default 512");
  add_integer(app, "--stride", args.stride, 1, kMostWindowTokens,
              "strided: tokens between windows; default half the context");
  add_integer(app, "--samples", args.samples, 1, kMostWindows, "at most this many windows a text");
  add_integer(app, "--seed", args.seed, 0, INT32_MAX, "mlx_lm.perplexity: of its shuffle");
}

void add_reference_flags(CLI::App* app, EvalArgs& args) {
  add_text(app, "--reference", args.reference, kPathValue,
           "the model that the candidates were made from, or its kept predictions (.logprobs)");
  add_list(app, "--logits", args.logits, kFileValue, "a candidate's logits (.safetensors)");
  add_text(app, "--reference-logits", args.reference_logits, kFileValue, "the reference's logits");
  add_text(app, "--cache", args.cache, kFolderValue,
           "where the reference's predictions and finished windows are kept");
  add_switch(app, "--no-cache", args.no_cache, "keep nothing; both models are open at once");
  add_choice(app, "--encoding", args.encoding, {"top", "float16", "float32"},
             "how predictions are kept: the likeliest tokens and a sample of the others, or all");
  add_integer(app, "--cache-top", args.top, 1, kMostWindowTokens,
              "top: how many tokens are kept exactly; default 256");
}

}  // namespace

Command add_eval_command(CLI::App& root) {
  CLI::App* app =
      root.add_subcommand("eval", "Measure what quantization cost: perplexity, KL divergence");
  const auto args = std::make_shared<EvalArgs>();
  add_list(app, "CANDIDATE", args->candidates, kPathValue, "model, or a file of logits");
  add_reference_flags(app, *args);
  add_text_flags(app, *args);
  add_switch(app, "--layers", args->layers, "compare weights and outputs of every module as well");
  add_switch(app, "--layers-only", args->layers_only,
             "only that: runs the reference for a few tokens, and no candidate");
  add_switch(app, "--weights-only", args->weights_only,
             "compare the weights of every module alone; runs no model");
  add_switch(
      app, "--int8-activations", args->int8_activations,
      "run the candidates with activations of 8 bits, as generate has them: what that costs");
  add_integer(app, "--worst", args->worst, 0, kMostWindows, "worst tokens to report; default 20");
  add_text(app, "--html", args->html, kFileValue, "write a report as one HTML page");
  add_switch(app, "--card", args->card,
             "write the numbers into README.md of every candidate, which upload publishes");
  add_integer(app, "--threads", args->threads, 1, kMostThreads, "default: every core");
  add_switch(app, "--json", args->json, "print the result as JSON");
  add_switch(app, "--quiet", args->quiet, "no progress and no notes, only warnings and errors");
  return {app,
          {{"mlxmill eval sample-4bit --reference models/sample-llama --context 64 --samples 1",
            "perplexity and divergence on a little of the texts that come with mlxmill"},
           {"mlxmill eval sample-4bit --reference models/sample-llama --weights-only",
            "how far the weights of every module are from the original's"},
           {"mlxmill eval sample-4bit --reference models/sample-llama --layers-only",
            "its outputs as well, on what reaches it in the original"},
           {"mlxmill eval sample-4bit --reference models/sample-llama --weights-only --html "
            "report.html",
            "the same as a page"}},
          [app, args] { return run_eval(*app, *args); }};
}

}  // namespace mlxmill::cli
