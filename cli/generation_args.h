// The flags that generate and chat share: which model, and how tokens are drawn.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "args.h"
#include "mlxmill/generate.h"
#include "model_args.h"

namespace mlxmill::cli {

struct GenerationArgs {
  ModelArgs model;
  std::optional<std::string> model_flag, system_prompt, chat_template_config;
  std::optional<int> max_tokens, max_kv_size, top_k, min_tokens_to_keep, seed;
  std::optional<int> repetition_context, presence_context, frequency_context;
  std::optional<double> temp, top_p, min_p, xtc_probability, xtc_threshold;
  std::optional<double> repetition_penalty, presence_penalty, frequency_penalty;
  std::vector<std::string> stop, extra_eos_tokens;
  bool trust_remote_code = false;
};

/// `max_tokens`: the default that the help names.
void add_generation_flags(CLI::App* app, GenerationArgs& args, int max_tokens);

/// An option that takes any number.
CLI::Option* add_number(CLI::App* app, const std::string& names, std::optional<double>& value,
                        const std::string& help);

/// A model and its tokenizer, opened.
struct OpenedModel {
  Model model;
  Tokenizer tokenizer;
};
Result<OpenedModel> open_model(const CLI::App& app, const GenerationArgs& args,
                               const Callbacks& callbacks);

/// Errors: kUsage for tokens that the tokenizer does not know.
Result<GenerateOptions> generate_options(const GenerationArgs& args, const Tokenizer& tokenizer,
                                         int default_max_tokens);

}  // namespace mlxmill::cli
