#include "generation_args.h"

#include <fmt/format.h>

#include <limits>
#include <random>

namespace mlxmill::cli {
namespace {

constexpr int kMostTokens = std::numeric_limits<int>::max();

void add_penalty_flags(CLI::App* app, GenerationArgs& args, const std::string& group) {
  const auto add = [&](const std::string& name, std::optional<double>& value,
                       std::optional<int>& context, const std::string& help) {
    add_number(app, "--" + name + "-penalty", value, help)->group(group);
    add_integer(app, "--" + name + "-context-size", context, 1, kMostTokens,
                "how many tokens back it looks (default: 20)")
        ->group(group);
  };
  add("repetition", args.repetition_penalty, args.repetition_context,
      "above 1: tokens that came lately become less likely");
  add("presence", args.presence_penalty, args.presence_context,
      "subtracted from the logits of tokens that came lately");
  add("frequency", args.frequency_penalty, args.frequency_context,
      "subtracted as often as the token came");
}

void add_sampling_flags(CLI::App* app, GenerationArgs& args) {
  const std::string group = "Sampling (without --temp always the likeliest token)";
  add_number(app, "--temp", args.temp, "temperature: 0 is greedy, 1 the model's own distribution")
      ->group(group);
  add_number(app, "--top-p", args.top_p, "only the likeliest tokens with this much probability")
      ->group(group);
  add_number(app, "--min-p", args.min_p, "only tokens with this share of the likeliest one's")
      ->group(group);
  add_integer(app, "--top-k", args.top_k, 0, kMostTokens, "only so many of the likeliest tokens")
      ->group(group);
  add_integer(app, "--min-tokens-to-keep", args.min_tokens_to_keep, 1, kMostTokens,
              "as many stay, whatever --min-p says (default: 1)")
      ->group(group);
  add_number(app, "--xtc-probability", args.xtc_probability,
             "how often the top choices are left out, all but the least likely of them")
      ->group(group);
  add_number(app, "--xtc-threshold", args.xtc_threshold,
             "probability above which a token is a top choice (default: 0.1)")
      ->group(group);
  add_integer(app, "--seed", args.seed, 0, kMostTokens,
              "the same seed gives the same text (default: another one each time)")
      ->group(group);
  add_penalty_flags(app, args, group);
}

Result<TokenId> token_of(const Tokenizer& tokenizer, const std::string& text) {
  if (const auto id = tokenizer.find(text)) return *id;
  return Error(Code::kUsage, fmt::format("--extra-eos-token: '{}' is no token of the model", text));
}

}  // namespace

CLI::Option* add_number(CLI::App* app, const std::string& names, std::optional<double>& value,
                        const std::string& help) {
  return app->add_option(names, value, help)
      ->type_name("NUMBER")
      ->multi_option_policy(CLI::MultiOptionPolicy::TakeLast);
}

void add_generation_flags(CLI::App* app, GenerationArgs& args, int max_tokens) {
  add_model_arguments(app, args.model, "4096");
  add_integer(app, "--max-kv-size", args.max_kv_size, 5, kMostTokens,
              "keep at most so many keys and values a layer: the first 4 and the latest "
              "(default: all)")
      ->group(kHowItRuns);
  add_text(app, "--model", args.model_flag, kPathValue, "the same as MODEL")->group(kHowItRuns);
  add_switch(app, "--trust-remote-code", args.trust_remote_code,
             "accepted for mlx-lm's sake: mlxmill never runs code of a model")
      ->group(kHowItRuns);
  const std::string group = "Text";
  add_text(app, "--system-prompt", args.system_prompt, "TEXT", "the chat's system message")
      ->group(group);
  add_integer(app, "-m,--max-tokens", args.max_tokens, -1, kMostTokens,
              fmt::format("at most so many tokens (default: {}); -1: no limit", max_tokens))
      ->group(group);
  app->add_option("--stop", args.stop, "text that ends the answer; may be given several times")
      ->type_name("TEXT")
      ->allow_extra_args(false)
      ->group(group);
  app->add_option("--extra-eos-token", args.extra_eos_tokens, "token that ends the answer, too")
      ->type_name("TOKEN")
      ->group(group);
  add_text(app, "--chat-template-config", args.chat_template_config, "JSON",
           "an object of variables for the chat template")
      ->group(group);
  add_sampling_flags(app, args);
}

Result<OpenedModel> open_model(const CLI::App& app, const GenerationArgs& args,
                               const Callbacks& callbacks) {
  ModelArgs model_args = args.model;
  if (model_args.path && args.model_flag && *model_args.path != *args.model_flag) {
    return Error(Code::kUsage, app.get_name() + ": MODEL and --model contradict each other");
  }
  if (!model_args.path) model_args.path = args.model_flag;
  if (!model_args.path) return missing_argument(app, "MODEL");
  ModelOptions options = model_options(model_args);
  options.max_kv_size = args.max_kv_size;
  options.callbacks = callbacks;
  // The tokenizer first: it is small, and what is wrong with it is told at once.
  MLXMILL_ASSIGN(Tokenizer tokenizer, Tokenizer::open(options.path));
  MLXMILL_ASSIGN(Model model, Model::open(options));
  return OpenedModel{std::move(model), std::move(tokenizer)};
}

Result<GenerateOptions> generate_options(const GenerationArgs& args, const Tokenizer& tokenizer,
                                         int default_max_tokens) {
  GenerateOptions options;
  SamplingOptions& sampling = options.sampling;
  sampling.temperature = args.temp.value_or(0);
  sampling.top_p = args.top_p.value_or(0);
  sampling.min_p = args.min_p.value_or(0);
  sampling.top_k = args.top_k.value_or(0);
  sampling.min_tokens_to_keep = args.min_tokens_to_keep.value_or(1);
  sampling.xtc_probability = args.xtc_probability.value_or(0);
  sampling.xtc_threshold = args.xtc_threshold.value_or(sampling.xtc_threshold);
  Penalties& penalties = sampling.penalties;
  penalties.repetition = args.repetition_penalty.value_or(0);
  penalties.presence = args.presence_penalty.value_or(0);
  penalties.frequency = args.frequency_penalty.value_or(0);
  penalties.repetition_context = args.repetition_context.value_or(penalties.repetition_context);
  penalties.presence_context = args.presence_context.value_or(penalties.presence_context);
  penalties.frequency_context = args.frequency_context.value_or(penalties.frequency_context);
  sampling.seed = args.seed ? static_cast<std::uint64_t>(*args.seed) : std::random_device()();
  options.max_tokens = args.max_tokens.value_or(default_max_tokens);
  options.stop = args.stop;
  for (const std::string& text : args.extra_eos_tokens) {
    MLXMILL_ASSIGN(const TokenId id, token_of(tokenizer, text));
    options.end_tokens.push_back(id);
  }
  // As in mlx-lm, XTC spares the ends of lines and of texts.
  MLXMILL_ASSIGN(const std::vector<TokenId> newline, tokenizer.encode("\n"));
  for (const std::vector<TokenId>& spared : {newline, tokenizer.eos()}) {
    sampling.xtc_special_tokens.insert(sampling.xtc_special_tokens.end(), spared.begin(),
                                       spared.end());
  }
  return options;
}

}  // namespace mlxmill::cli
