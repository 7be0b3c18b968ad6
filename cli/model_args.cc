#include "model_args.h"

#include <algorithm>

#include "args.h"
#include "interrupt.h"
#include "progress_line.h"

namespace mlxmill::cli {

void add_model_arguments(CLI::App* app, ModelArgs& args, const std::string& context) {
  constexpr int kMostContext = 1 << 30;
  constexpr std::uint64_t kLeastModelMemory = 1 << 20;
  add_text(app, "MODEL", args.path, kPathValue,
           "an MLX model folder, any checkpoint that convert reads, or a GGUF file");
  const std::string group = kHowItRuns;
  add_choice(app, "--dtype", args.dtype, {"float16", "bfloat16", "float32"},
             "type of float weights and of the computation (default: as stored)")
      ->group(group);
  add_integer(app, "--context", args.context, 1, kMostContext,
              "tokens that memory is planned for (default: " + context + ")")
      ->group(group);
  add_integer(app, "--kv-bits", args.kv_bits, 2, 8,
              "keep keys and values in 2, 3, 4, 5, 6 or 8 bits (default: as floats)")
      ->group(group);
  add_integer(
      app, "--kv-group-size", args.kv_group_size, 32, 128,
      "with --kv-bits: 32, 64 or 128 (default: 64, or 32 where heads are no multiple of 64)")
      ->group(group);
  add_integer(app, "--quantized-kv-start", args.kv_start, 0, kMostContext,
              "with --kv-bits: as floats until there are so many tokens (default: 0)")
      ->group(group);
  add_integer(app, "--prefill-step-size", args.prefill_step_size, 1, kMostContext,
              "tokens of a prompt that are computed at once (default: 512)")
      ->group(group);
  add_switch(
      app, "--int8-activations", args.int8_activations,
      "on a CPU without AVX-512: round what meets codes of 2 to 6 bits to 8 bits; faster, see eval "
      "for the cost")
      ->group(group);
  add_size(app, "--memory", args.memory, kLeastModelMemory,
           "what the model may take (default: what the machine has free)")
      ->group(group);
  add_text(app, "--architecture", args.architecture, kFileValue, "adds a model family")
      ->group(group);
  add_switch(app, "--quiet", args.quiet, "no progress, only warnings and errors")->group(group);
}

ModelOptions model_options(const ModelArgs& args) {
  ModelOptions options;
  options.path = without_trailing_slash(args.path.value_or(""));
  if (args.dtype) options.dtype = dtype_from_torch_name(*args.dtype);
  options.context = args.context.value_or(options.context);
  options.kv_bits = args.kv_bits;
  options.kv_group_size = args.kv_group_size.value_or(options.kv_group_size);
  options.kv_start = args.kv_start.value_or(0);
  options.prefill_step_size = args.prefill_step_size.value_or(options.prefill_step_size);
  options.int8_activations = args.int8_activations;
  options.memory_bytes = args.memory.value_or(0);
  options.architecture_file = args.architecture.value_or("");
  return options;
}

Result<Model> open_model(const ModelArgs& args, std::int64_t context) {
  ProgressLine progress(progress_style(args.quiet));
  ModelOptions options = model_options(args);
  options.context = std::max<std::int64_t>(context, args.context.value_or(0));
  // Later calls of the model only ask whether to stop: the line does not outlive this one.
  options.callbacks.progress = [&](const Progress& at) { progress.update(at); };
  Result<Model> model = Model::open(options);
  progress.finish(model.has_value());
  if (model) {
    for (const std::string& text : model->facts().warnings) progress.message("warning", text);
  }
  return model;
}

}  // namespace mlxmill::cli
