// mlxmill generate: text after a prompt, as it comes.
#include <fmt/format.h>

#include <algorithm>
#include <cstdio>
#include <iostream>
#include <iterator>
#include <memory>

#include "command.h"
#include "exit_code.h"
#include "generation_args.h"
#include "interrupt.h"
#include "json_output.h"
#include "progress_line.h"
#include "table.h"
#include "terminal.h"

namespace mlxmill::cli {
namespace {

// mlx_lm.generate's.
constexpr int kDefaultMaxTokens = 100;
constexpr const char* kDefaultPrompt = "hello";

struct GenerateArgs {
  GenerationArgs shared;
  std::optional<std::string> prompt, prefill_response, prompt_cache, draft_model, verbose;
  std::optional<int> draft_tokens;
  bool ignore_chat_template = false;
  bool json = false;
};

Result<std::string> prompt_text(const GenerateArgs& args) {
  std::string text = args.prompt.value_or(kDefaultPrompt);
  if (text != "-") return text;
  text.assign(std::istreambuf_iterator<char>(std::cin), {});
  if (std::cin.bad()) return Error(Code::kIo, "standard input cannot be read");
  return text;
}

// The prompt's tokens: as a chat where the model has a template, else as it is.
Result<std::vector<TokenId>> prompt_tokens(const GenerateArgs& args, const Tokenizer& tokenizer) {
  MLXMILL_ASSIGN(const std::string text, prompt_text(args));
  const bool chat = !args.ignore_chat_template && !tokenizer.chat_templates().empty();
  if (!chat) {
    if (args.shared.system_prompt || args.prefill_response) {
      return Error(Code::kUsage, "--system-prompt and --prefill-response need a chat template")
          .hint(args.ignore_chat_template ? "leave out --ignore-chat-template"
                                          : "this model has none: put all into --prompt");
    }
    return tokenizer.encode(text);
  }
  std::vector<ChatMessage> messages;
  if (args.shared.system_prompt) messages.push_back({"system", *args.shared.system_prompt});
  messages.push_back({"user", text});
  if (args.prefill_response) messages.push_back({"assistant", *args.prefill_response});
  MLXMILL_ASSIGN(const std::string json, messages_json(messages));
  ChatOptions options;
  options.add_generation_prompt = !args.prefill_response;
  options.continue_final_message = args.prefill_response.has_value();
  options.variables_json = args.shared.chat_template_config.value_or("");
  MLXMILL_ASSIGN(const std::string rendered, tokenizer.render_chat(json, options));
  return tokenizer.encode(rendered, false);
}

// The cache of --prompt-cache as far as it holds the beginning of the prompt.
Result<ModelCache> starting_cache(const GenerateArgs& args, const Model& model,
                                  std::span<const TokenId> prompt) {
  std::error_code ignored;
  if (!args.prompt_cache || !std::filesystem::exists(*args.prompt_cache, ignored)) {
    return model.new_cache();
  }
  MLXMILL_ASSIGN(Model::LoadedCache loaded, model.load_cache(*args.prompt_cache));
  const std::vector<TokenId> seen(loaded.ids.begin(), loaded.ids.end());
  rewind_cache(model, loaded.cache, seen, prompt);
  return std::move(loaded.cache);
}

// The model of --draft-model, which must have the tokens of the other.
Result<std::optional<Model>> open_draft(const GenerateArgs& args, const Tokenizer& tokenizer,
                                        const Callbacks& callbacks) {
  if (!args.draft_model) {
    if (!args.draft_tokens) return std::optional<Model>();
    return Error(Code::kUsage, "--num-draft-tokens needs --draft-model");
  }
  ModelArgs model_args = args.shared.model;
  model_args.path = args.draft_model;
  ModelOptions options = model_options(model_args);
  options.callbacks = callbacks;
  MLXMILL_ASSIGN(const Tokenizer theirs, Tokenizer::open(options.path));
  for (std::size_t i = 0; i < std::max(theirs.id_limit(), tokenizer.id_limit()); ++i) {
    const auto id = static_cast<TokenId>(i);
    const auto ours = tokenizer.token_spelling(id);
    const auto drafted = theirs.token_spelling(id);
    if (ours == drafted) continue;
    return Error(Code::kUsage, fmt::format("token {} is {}; expected {}, as in the model", id,
                                           drafted ? "'" + *drafted + "'" : "none",
                                           ours ? "'" + *ours + "'" : "none"))
        .at(*args.draft_model)
        .hint("a draft model has the vocabulary of the model: take a smaller one of the same kind");
  }
  MLXMILL_ASSIGN(Model model, Model::open(options));
  return std::optional(std::move(model));
}

std::string rate(std::size_t tokens, double seconds) {
  return seconds > 0 ? fmt::format("{:.1f} tokens/s", static_cast<double>(tokens) / seconds)
                     : std::string("-");
}

std::string statistics(const Generated& generated) {
  Summary summary;
  const std::size_t prompt = generated.prompt_tokens - generated.cached_tokens;
  std::string prompt_text =
      fmt::format("{}, {}", plural(prompt, "token"), rate(prompt, generated.prompt_seconds));
  if (generated.cached_tokens > 0) {
    prompt_text += fmt::format(", {} more from the cache", generated.cached_tokens);
  }
  summary.add("prompt", prompt_text);
  // The first token came with the prompt.
  const std::size_t timed = generated.ids.empty() ? 0 : generated.ids.size() - 1;
  summary.add(
      "generation",
      fmt::format("{}, {}, ended by {}", plural(generated.ids.size(), "token"),
                  rate(timed, generated.generation_seconds), finish_name(generated.finish)));
  if (generated.drafted_tokens > 0) {
    summary.add("draft",
                fmt::format("{} of these guessed", plural(generated.drafted_tokens, "token")));
  }
  summary.add("peak memory", format_bytes(generated.peak_memory));
  return summary.text();
}

Json result_json(const Generated& generated) {
  return {{"text", generated.text},
          {"ids", generated.ids},
          {"finish", finish_name(generated.finish)},
          {"prompt_tokens", generated.prompt_tokens},
          {"cached_tokens", generated.cached_tokens},
          {"drafted_tokens", generated.drafted_tokens},
          {"prompt_seconds", generated.prompt_seconds},
          {"generation_seconds", generated.generation_seconds},
          {"peak_memory", generated.peak_memory}};
}

Result<Generated> answer_prompt(const CLI::App& app, const GenerateArgs& args,
                                ProgressLine& progress) {
  Callbacks callbacks;
  callbacks.progress = [&](const Progress& now) { progress.update(now); };
  callbacks.warning = [&](std::string_view text) { progress.message("warning", text); };
  callbacks.cancelled = interrupted;
  MLXMILL_ASSIGN(const OpenedModel opened, open_model(app, args.shared, callbacks));
  MLXMILL_ASSIGN(const std::vector<TokenId> prompt, prompt_tokens(args, opened.tokenizer));
  MLXMILL_ASSIGN(const std::optional<Model> draft, open_draft(args, opened.tokenizer, callbacks));
  MLXMILL_ASSIGN(GenerateOptions options,
                 generate_options(args.shared, opened.tokenizer, kDefaultMaxTokens));
  options.draft = draft ? &*draft : nullptr;
  options.draft_tokens = args.draft_tokens ? *args.draft_tokens : options.draft_tokens;
  MLXMILL_ASSIGN(ModelCache cache, starting_cache(args, opened.model, prompt));
  const auto on_text = [&](std::string_view text) {
    progress.finish(true);
    if (!args.json) {
      print_out(printable_answer(text));
      std::fflush(stdout);
    }
    return !interrupted();
  };
  MLXMILL_ASSIGN(Generated generated,
                 generate_text(opened.model, opened.tokenizer, cache, prompt, options, on_text));
  if (args.prompt_cache) {
    std::vector<std::int32_t> ids(prompt.begin(), prompt.end());
    ids.insert(ids.end(), generated.ids.begin(), generated.ids.end());
    ids.resize(static_cast<std::size_t>(cache.length()));
    MLXMILL_TRY(opened.model.save_cache(cache, *args.prompt_cache, ids));
  }
  return generated;
}

int run_generate(const CLI::App& app, const GenerateArgs& args) {
  const bool verbose = !args.verbose || (*args.verbose != "False" && *args.verbose != "F" &&
                                         *args.verbose != "false" && *args.verbose != "f");
  const bool quiet = args.shared.model.quiet || !verbose;
  ProgressLine progress(progress_style(quiet));
  catch_interrupts();
  const Result<Generated> generated = answer_prompt(app, args, progress);
  progress.finish(generated.has_value());
  if (!generated) return print_error(generated.error());
  if (args.json) {
    print_json(result_json(*generated));
  } else {
    print_out("\n");
    std::fflush(stdout);
  }
  if (!quiet && !args.json) std::fputs(statistics(*generated).c_str(), stderr);
  return generated->finish == Finish::kCancelled ? kExitInterrupted : kExitOk;
}

}  // namespace

Command add_generate_command(CLI::App& root) {
  CLI::App* app = root.add_subcommand("generate", "Let a model go on with a text");
  const auto args = std::make_shared<GenerateArgs>();
  add_generation_flags(app, args->shared, kDefaultMaxTokens);
  const std::string group = "Text";
  add_text(app, "-p,--prompt", args->prompt, "TEXT",
           "what the model answers or goes on with; - reads it from standard input")
      ->group(group);
  add_text(app, "--prefill-response", args->prefill_response, "TEXT", "how the answer begins")
      ->group(group);
  add_switch(app, "--ignore-chat-template", args->ignore_chat_template,
             "go on with the prompt as it is, also where the model has a chat template")
      ->group(group);
  add_text(app, "--prompt-cache,--prompt-cache-file", args->prompt_cache, kFileValue,
           "keep what was computed in this file, and go on from it where the prompt begins alike")
      ->group(group);
  add_text(
      app, "--draft-model", args->draft_model, kPathValue,
      "a smaller model with the same vocabulary that guesses tokens, for MODEL to check at once")
      ->group(kHowItRuns);
  add_integer(app, "--num-draft-tokens", args->draft_tokens, 1, 64,
              fmt::format("how many it guesses (default: {})", GenerateOptions().draft_tokens))
      ->group(kHowItRuns);
  add_switch(app, "--json", args->json, "print the result as JSON");
  add_text(app, "--verbose", args->verbose, "BOOL", "mlx_lm's: False is --quiet");
  return {app,
          {{"mlxmill generate sample-4bit -p \"Once upon a time\"",
            "the likeliest continuation, 100 tokens of it"},
           {"mlxmill generate sample-4bit -p \"One day\" --temp 0.8 --top-p 0.9 --seed 7 -m 40",
            "drawn by chance; the same seed gives the same text"},
           {"mlxmill generate sample-4bit -p \"The end\" --json -m 5", "for a program"}},
          [app, args] { return run_generate(*app, *args); }};
}

}  // namespace mlxmill::cli
