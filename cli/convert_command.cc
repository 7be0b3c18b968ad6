// mlxmill convert: a Hugging Face folder becomes an MLX folder.
#include <fmt/format.h>

#include <filesystem>
#include <memory>

#include "args.h"
#include "command.h"
#include "convert_output.h"
#include "exit_code.h"
#include "hub_flags.h"
#include "interrupt.h"
#include "mlxmill/convert.h"
#include "mlxmill/recipe.h"
#include "mlxmill/simd.h"
#include "mlxmill/upload.h"
#include "progress_line.h"
#include "terminal.h"

namespace mlxmill::cli {
namespace {

using Text = std::optional<std::string>;

constexpr std::uint64_t kLeastMemory = std::uint64_t{64} << 20U;
// mlx_lm.convert's.
constexpr const char* kDefaultOutput = "mlx_model";

// The command line as given. Two names that mean the same stay apart, since the short ones imply
// -q.
struct ConvertArgs {
  Text source, hf_path, output, upload_repo;
  bool quantize = false, dequantize = false, requantize = false, exact_norms = false;
  std::optional<int> q_bits, bits, q_group_size, group_size;
  Text q_mode, mode, quant_predicate, recipe, dtype, codes;
  bool trust_remote_code = false;
  bool force = false, restart = false, allow_non_finite = false;
  std::optional<int> threads;
  std::optional<std::uint64_t> memory;
  Text architecture, base_model, simd;
  bool dry_run = false, json = false, quiet = false, verbose = false;
  HubArgs hub;
  bool stream = false;
};

std::vector<std::string> mode_names() {
  std::vector<std::string> names;
  for (const Mode mode : {Mode::kAffine, Mode::kMxfp4, Mode::kNvfp4, Mode::kMxfp8}) {
    names.emplace_back(mode_name(mode));
  }
  return names;
}

std::vector<std::string> simd_names() {
  std::vector<std::string> names = compiled_simd_targets();
  names.insert(names.begin(), "auto");
  return names;
}

std::vector<Example> convert_examples() {
  return {
      {"mlxmill convert models/sample-llama --bits 4 -o sample-4bit",
       "quantize a folder to 4 bits a weight"},
      {"mlxmill convert Qwen/Qwen3-0.6B --bits 4 -o qwen-4bit",
       "the same of a model on the Hub, which is downloaded first"},
      {"mlxmill convert Qwen/Qwen3-0.6B --bits 6 -o qwen-6bit --stream",
       "or read while it is converted, and not stored"},
      {"mlxmill convert models/sample-llama --bits 4 --dry-run",
       "the exact plan: every tensor, every size; nothing is written"},
      {"mlxmill convert models/sample-llama --recipe mixed_3_6 -o sample-mixed",
       "3 bits, and 6 where it matters most"},
      {"mlxmill convert models/sample-llama --recipe routers_8 --dry-run",
       "which rule decides about each module; docs/RECIPES.md says how to write one"},
      {"mlxmill convert models/sample-llama --mode mxfp4 -o sample-mxfp4",
       "another number format: 4-bit floats"},
      {"mlxmill convert models/sample-llama -o sample-16bit", "16-bit MLX, nothing quantized"},
      {"mlxmill convert sample-4bit -d -o sample-back", "back to 16 bits"},
      {"mlxmill convert --hf-path models/sample-llama -q --q-bits 8 --mlx-path sample-8bit",
       "the flags of mlx_lm.convert work as they are"},
  };
}

void add_model_flags(CLI::App* app, ConvertArgs& args) {
  add_text(app, "SOURCE", args.source, kFolderValue,
           "folder with config.json and weights (safetensors, pytorch_model*.bin), a GGUF file, or "
           "a model of the Hub: owner/name, owner/name@revision, owner/name:Q8_0");
  const std::string group = "Model";
  add_text(app, "--hf-path,--model", args.hf_path, kFolderValue, "the same as SOURCE")
      ->group(group);
  add_text(app, "-o,--output,--mlx-path", args.output, kFolderValue,
           fmt::format("folder to make (default: {})", kDefaultOutput))
      ->group(group);
  add_switch(app, "--force", args.force, "replace an existing output, once the new one is complete")
      ->group(group);
  add_text(app, "--architecture", args.architecture, kFileValue,
           "a declaration of a model family that comes before the built-in ones")
      ->group(group);
  add_text(app, "--base-model", args.base_model, "NAME",
           "what the model card says it was made from")
      ->group(group);
  add_text(app, "--upload-repo", args.upload_repo, "NAME",
           "owner/name to upload the result to; it is made where there is none")
      ->group(group);
  add_switch(app, "--trust-remote-code", args.trust_remote_code,
             "accepted for mlx_lm.convert's sake: mlxmill never runs code of a model")
      ->group(group);
}

void add_quantize_flags(CLI::App* app, ConvertArgs& args) {
  const std::string group =
      "Quantization (each of --bits, --group-size, --mode, --recipe implies -q)";
  constexpr int kMostBits = 64;
  constexpr int kMostWeights = 1 << 20;
  add_switch(app, "-q,--quantize", args.quantize, "quantize; without it the output is 16-bit")
      ->group(group);
  add_integer(app, "--bits", args.bits, 1, kMostBits,
              "bits a weight: 2, 3, 4, 5, 6 or 8 (default: 4; mxfp8: 8)")
      ->group(group);
  add_integer(
      app, "--group-size", args.group_size, 1, kMostWeights,
      "weights that share a scale: 32, 64 or 128 (default: 64; mxfp4, mxfp8: 32; nvfp4: 16)")
      ->group(group);
  add_choice(app, "--mode", args.mode, mode_names(), "number format of the codes (default: affine)")
      ->group(group);
  add_text(app, "--recipe", args.recipe, kRecipeValue,
           "rules for which modules get which bits: a built-in one (mixed_3_6: 3 bits, and 6 where "
           "it matters most; see mlxmill recipe list) or a file of yours")
      ->group(group);
  add_choice(app, "--codes", args.codes, {"mlx"},
             "how codes are chosen (default: mlx, the codes of libmlx's CPU backend)")
      ->group(group);
  add_switch(app, "-d,--dequantize", args.dequantize, "turn a quantized model back into floats")
      ->group(group);
  add_choice(app, "--dtype", args.dtype, {"float16", "bfloat16", "float32"},
             "type of what stays unquantized (default: config.json's torch_dtype, else as stored)")
      ->group(group);
  add_switch(
      app, "--exact-norms", args.exact_norms,
      "keep norms that mlx-lm stores as 1 + weight in float32 (qwen3_next, qwen3_5, step3p5); "
      "activations become float32 with them")
      ->group(group);
  add_switch(app, "--requantize", args.requantize,
             "quantize anew what the source (GPTQ, AWQ, ...) holds as codes that MLX could keep")
      ->group(group);
  const std::string theirs = "mlx_lm.convert's names (no effect without -q)";
  add_integer(app, "--q-bits", args.q_bits, 1, kMostBits, "as --bits")->group(theirs);
  add_integer(app, "--q-group-size", args.q_group_size, 1, kMostWeights, "as --group-size")
      ->group(theirs);
  add_choice(app, "--q-mode", args.q_mode, mode_names(), "as --mode")->group(theirs);
  add_text(app, "--quant-predicate", args.quant_predicate, kRecipeValue, "as --recipe")
      ->group(theirs);
}

void add_run_flags(CLI::App* app, ConvertArgs& args) {
  const std::string group = "The run";
  add_switch(app, "--dry-run", args.dry_run, "print the plan and write nothing")->group(group);
  add_switch(app, "--restart", args.restart, "start over instead of resuming an unfinished run")
      ->group(group);
  add_switch(app, "--allow-non-finite", args.allow_non_finite,
             "pass NaN and infinite weights on instead of refusing them")
      ->group(group);
  add_integer(app, "--threads", args.threads, 1, kMostThreads, "default: every core")->group(group);
  add_size(app, "--memory", args.memory, kLeastMemory,
           "budget for buffers, at least 64M (default: 128M); K, M, G are powers of 1024")
      ->group(group);
  add_text(app, "--simd", args.simd, join_choices(simd_names()),
           "vector instructions to use; the output is the same for all (default: auto)")
      ->group(group);
  add_switch(app, "--json", args.json, "print the result as JSON")->group(group);
  add_switch(app, "--quiet", args.quiet, "no progress and no notes, only warnings and errors")
      ->group(group);
  add_switch(app, "--verbose", args.verbose, "name every module that stays unquantized")
      ->group(group);
}

// The value of a flag with two names. Errors: kUsage when they contradict each other.
template <typename T>
Result<std::optional<T>> either(const std::optional<T>& ours, std::string_view our_name,
                                const std::optional<T>& theirs, std::string_view their_name) {
  if (ours && theirs && *ours != *theirs) {
    return Error(Code::kUsage,
                 fmt::format("convert: {} and {} contradict each other", our_name, their_name));
  }
  return ours ? ours : theirs;
}

Status set_quantization(const ConvertArgs& args, ConvertOptions& options) {
  MLXMILL_ASSIGN(options.bits, either(args.bits, "--bits", args.q_bits, "--q-bits"));
  MLXMILL_ASSIGN(options.group_size,
                 either(args.group_size, "--group-size", args.q_group_size, "--q-group-size"));
  MLXMILL_ASSIGN(const Text mode, either(args.mode, "--mode", args.q_mode, "--q-mode"));
  MLXMILL_ASSIGN(const Text recipe,
                 either(args.recipe, "--recipe", args.quant_predicate, "--quant-predicate"));
  if (mode) options.mode = mode_from_name(*mode).value_or(Mode::kAffine);
  options.recipe = recipe.value_or("");
  // A wrong name is misuse, told before anything is read.
  if (!options.recipe.empty() && !is_recipe_file(options.recipe)) {
    const Result<std::string> known = read_recipe(options.recipe);
    if (!known) return Error(known.error()).at("convert: --recipe");
  }
  return {};
}

Result<std::string> source_of(const CLI::App& app, const ConvertArgs& args) {
  MLXMILL_ASSIGN(const Text source, either(args.source, "SOURCE", args.hf_path, "--hf-path"));
  if (!source) return missing_argument(app, "SOURCE");
  return without_trailing_slash(*source);
}

// The command for the model card: what shapes the bytes, nothing about this machine.
std::string card_command(const ConvertOptions& options) {
  std::error_code ignored;
  std::string name = options.base_model;
  if (is_remote(options.source.string())) name = options.source.string();
  if (name.empty()) name = std::filesystem::weakly_canonical(options.source, ignored).filename();
  std::string command = "mlxmill convert " + shell_quote(name);
  if (options.dequantize) command += " -d";
  if (options.exact_norms) command += " --exact-norms";
  if (options.requantize) command += " --requantize";
  if (options.quantize) {
    command += " -q";
    if (options.mode != Mode::kAffine)
      command += fmt::format(" --mode {}", mode_name(options.mode));
    if (options.bits) command += fmt::format(" --bits {}", *options.bits);
    if (options.group_size) command += fmt::format(" --group-size {}", *options.group_size);
    if (!options.recipe.empty()) {
      const std::filesystem::path recipe = options.recipe;
      command += " --recipe " + shell_quote(recipe.filename().string());
    }
  }
  if (options.dtype) command += fmt::format(" --dtype {}", torch_dtype_name(*options.dtype));
  if (options.allow_non_finite) command += " --allow-non-finite";
  if (!options.architecture_file.empty()) {
    const std::filesystem::path file = options.architecture_file;
    command += " --architecture " + shell_quote(file.filename().string());
  }
  return command;
}

Result<ConvertOptions> make_options(const CLI::App& app, const ConvertArgs& args) {
  if (args.quiet && args.verbose) {
    return Error(Code::kUsage, "convert: --quiet and --verbose contradict each other");
  }
  ConvertOptions options;
  MLXMILL_ASSIGN(const std::string source, source_of(app, args));
  options.source = source;
  options.output = without_trailing_slash(args.output.value_or(kDefaultOutput));
  options.quantize = args.quantize || args.bits || args.group_size || args.mode || args.recipe;
  options.dequantize = args.dequantize;
  options.requantize = args.requantize;
  options.exact_norms = args.exact_norms;
  if (options.quantize && options.dequantize) {
    return Error(Code::kUsage, "convert: choose either to quantize or to dequantize, not both");
  }
  // As in mlx_lm.convert, --q-... alone ask for nothing.
  if (options.quantize) MLXMILL_TRY(set_quantization(args, options));
  if (args.dtype) options.dtype = dtype_from_torch_name(*args.dtype);
  options.codes = args.codes.value_or(options.codes);
  options.force = args.force;
  options.restart = args.restart;
  options.allow_non_finite = args.allow_non_finite;
  options.threads = args.threads.value_or(0);
  options.memory_bytes = args.memory.value_or(0);
  options.architecture_file = args.architecture.value_or("");
  options.base_model = args.base_model.value_or("");
  options.command = card_command(options);
  return options;
}

std::vector<std::string> useless_flags(const ConvertArgs& args) {
  std::vector<std::string> flags;
  if (args.q_bits) flags.emplace_back("--q-bits");
  if (args.q_group_size) flags.emplace_back("--q-group-size");
  if (args.q_mode) flags.emplace_back("--q-mode");
  if (args.quant_predicate) flags.emplace_back("--quant-predicate");
  return flags;
}

/// Fetches a model of the Hub, so that `options` name a folder or file; or leaves it to be read
/// over the network.
Status fetch_source(const ConvertArgs& args, ConvertOptions& options, const Callbacks& callbacks) {
  const std::string source = options.source.string();
  if (!is_remote(source)) {
    if (!args.hub.revision && !args.hub.file && !args.stream) return {};
    return Error(Code::kUsage,
                 "convert: --revision, --file and --stream are for models of the Hub; " + source +
                     " is a path");
  }
  if (args.stream || args.dry_run) {
    options.stream_model = source;
    options.hub = hub_options(args.hub);
    return {};
  }
  MLXMILL_ASSIGN(const HubModel model, fetch_model(source, args.hub, callbacks));
  options.source = model.path;
  if (options.base_model.empty()) options.base_model = model.repo;
  return {};
}

int run_dry(const ConvertOptions& options, bool json, std::vector<std::string>& warnings,
            ProgressLine& progress, const Callbacks& callbacks) {
  const Result<Plan> plan = plan_conversion(options, callbacks);
  progress.finish(plan.has_value());
  if (!plan) return print_error_or_interrupted(plan.error());
  for (const std::string& text : plan->warnings) callbacks.warning(text);
  std::error_code ignored;
  if (!options.force && std::filesystem::exists(options.output, ignored)) {
    callbacks.warning(options.output.string() + " exists: convert will refuse without --force");
  }
  if (json) {
    print_json(plan_json(options, *plan, warnings));
  } else {
    print_out(plan_text(options, *plan));
  }
  return kExitOk;
}

UploadOptions upload_options(const ConvertArgs& args, const ConvertOptions& options) {
  UploadOptions upload;
  upload.folder = options.output;
  upload.repo = args.upload_repo.value_or("");
  upload.create = true;
  upload.force = args.force;
  return upload;
}

int run_convert(const CLI::App& app, const ConvertArgs& args) {
  Result<ConvertOptions> options = make_options(app, args);
  if (!options) return print_error(options.error());
  if (args.simd) {
    const Status chosen = set_simd_target(*args.simd);
    if (!chosen) return print_error(chosen.error());
  }
  std::vector<std::string> warnings;
  ProgressLine progress(progress_style(args.quiet));
  const auto warn = [&](std::string_view text) {
    warnings.emplace_back(text);
    progress.message("warning", text);
  };
  const std::vector<std::string> useless = useless_flags(args);
  if (!options->quantize && !useless.empty()) {
    warn(
        fmt::format("without -q nothing is quantized: no effect: {}", join_choices(useless, ", ")));
  }
  const Callbacks callbacks = progress_callbacks(progress, args.quiet, warn);
  catch_interrupts();
  Status fetched;
  // Asked before hours of work, not after them.
  if (args.upload_repo && !args.dry_run) fetched = check_upload(upload_options(args, *options));
  if (fetched) fetched = fetch_source(args, *options, callbacks);
  if (!fetched) {
    progress.finish(false);
    return print_error_or_interrupted(fetched.error());
  }
  if (args.dry_run) return run_dry(*options, args.json, warnings, progress, callbacks);
  const Result<ConvertReport> report = convert_model(*options, callbacks);
  if (!report) {
    progress.finish(false);
    return print_error_or_interrupted(report.error());
  }
  if (args.upload_repo) {
    const Result<UploadReport> uploaded = upload_folder(upload_options(args, *options), callbacks);
    if (!uploaded) {
      progress.finish(false);
      return print_error_or_interrupted(uploaded.error());
    }
    progress.message("note", "uploaded to " + printable(uploaded->url));
  }
  progress.finish(true);
  if (args.json) {
    print_json(report_json(*options, *report, warnings));
  } else {
    print_out(report_text(*options, *report, args.verbose));
  }
  return kExitOk;
}

}  // namespace

Command add_convert_command(CLI::App& root) {
  CLI::App* app = root.add_subcommand("convert", "Make an MLX model of a Hugging Face checkpoint");
  const auto args = std::make_shared<ConvertArgs>();
  add_model_flags(app, *args);
  add_quantize_flags(app, *args);
  add_hub_flags(app, args->hub);
  add_switch(app, "--stream", args->stream,
             "read the weights over the network as they are needed: disk for the output only")
      ->group("Models of the Hub");
  add_run_flags(app, *args);
  return {app, convert_examples(), [app, args] { return run_convert(*app, *args); }};
}

}  // namespace mlxmill::cli
