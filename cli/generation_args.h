// The flags that generate and chat share: which model, and how tokens are drawn.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "args.h"
#include "mlxmill/generate.h"

namespace mlxmill::cli {

struct GenerationArgs {
  std::optional<std::string> model, model_flag;
  std::optional<std::string> system_prompt, chat_template_config, dtype, architecture;
  std::optional<int> max_tokens, context, top_k, min_tokens_to_keep, seed, kv_bits, kv_group_size;
  std::optional<int> repetition_context, presence_context, frequency_context;
  std::optional<double> temp, top_p, min_p, xtc_probability, xtc_threshold;
  std::optional<double> repetition_penalty, presence_penalty, frequency_penalty;
  std::optional<std::uint64_t> memory;
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
