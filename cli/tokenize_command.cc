// mlxmill tokenize: text to token ids, ids to text, chats to text.
#include <fmt/format.h>

#include <charconv>
#include <cstdio>
#include <memory>

#include "args.h"
#include "command.h"
#include "exit_code.h"
#include "json_output.h"
#include "mlxmill/tokenizer.h"
#include "table.h"
#include "terminal.h"

namespace mlxmill::cli {
namespace {

using Text = std::optional<std::string>;

struct TokenizeArgs {
  Text model, text, chat_template, tools, variables;
  bool ids = false, decode = false, chat = false, json = false;
  bool no_special = false, skip_special = false, no_prompt = false, go_on = false;
};

std::string read_stdin() {
  std::string text;
  char buffer[1 << 16];
  for (std::size_t n = 0; (n = std::fread(buffer, 1, sizeof buffer, stdin)) > 0;) {
    text.append(buffer, n);
  }
  return text;
}

/// Numbers between anything that is none: what --ids prints, and a list of JSON.
Result<std::vector<TokenId>> parse_ids(std::string_view text) {
  constexpr std::string_view kBetween = " ,;[]\t\r\n";
  std::vector<TokenId> ids;
  while (!text.empty()) {
    const std::size_t begin = text.find_first_not_of(kBetween);
    if (begin == std::string_view::npos) break;
    text.remove_prefix(begin);
    const std::string_view word = text.substr(0, text.find_first_of(kBetween));
    TokenId id = 0;
    const auto [end, failure] = std::from_chars(word.data(), word.data() + word.size(), id);
    if (failure != std::errc() || end != word.data() + word.size()) {
      return Error(Code::kUsage, fmt::format("'{}' is no token id", printable(word)));
    }
    ids.push_back(id);
    text.remove_prefix(word.size());
  }
  return ids;
}

Json tokens_json(const Tokenizer& tokenizer, const std::vector<TokenId>& ids) {
  Json tokens = Json::array();
  for (const TokenId id : ids) {
    tokens.push_back({{"id", id},
                      {"spelling", tokenizer.token_spelling(id).value_or("")},
                      {"special", tokenizer.is_special(id)}});
  }
  return tokens;
}

std::string ids_text(const std::vector<TokenId>& ids) {
  return fmt::format("{}\n", fmt::join(ids, " "));
}

std::string table_text(const Tokenizer& tokenizer, const std::vector<TokenId>& ids) {
  Table table({Table::Align::kRight, Table::Align::kLeft});
  for (const TokenId id : ids) {
    const std::string bytes = tokenizer.token_bytes(id).value_or("");
    table.add({fmt::format("{}", id), fmt::format("'{}'", printable(bytes))});
  }
  return table.text();
}

int show(const TokenizeArgs& args, const Tokenizer& tokenizer, const std::string& text,
         const std::vector<TokenId>& ids) {
  if (args.json) {
    print_json({{"text", text}, {"ids", ids}, {"tokens", tokens_json(tokenizer, ids)}});
  } else if (args.ids) {
    print_out(ids_text(ids));
  } else if (args.decode || args.chat) {
    // As it is, and nothing behind it: for a file or a program.
    print_out(text);
  } else {
    print_out(table_text(tokenizer, ids));
  }
  return kExitOk;
}

Result<std::string> render(const TokenizeArgs& args, const Tokenizer& tokenizer,
                           const std::string& messages) {
  ChatOptions options;
  options.continue_final_message = args.go_on;
  options.add_generation_prompt = !args.no_prompt && !args.go_on;
  // Names hold no braces; templates do.
  const std::string given = args.chat_template.value_or("");
  (given.find('{') == std::string::npos ? options.template_name : options.template_text) = given;
  options.tools_json = args.tools.value_or("");
  options.variables_json = args.variables.value_or("");
  return tokenizer.render_chat(messages, options);
}

int run_tokenize(const CLI::App& app, const TokenizeArgs& args) {
  if (!args.model) return print_error(missing_argument(app, "MODEL"));
  if (args.decode && args.chat) {
    return print_error(Error(Code::kUsage, "--decode and --chat contradict each other"));
  }
  const bool for_chats =
      args.chat_template || args.tools || args.variables || args.no_prompt || args.go_on;
  if (for_chats && !args.chat) {
    return print_error(Error(Code::kUsage,
                             "--template, --tools, --variables, --no-generation-prompt and "
                             "--continue are for --chat"));
  }
  const Result<Tokenizer> tokenizer = Tokenizer::open(without_trailing_slash(*args.model));
  if (!tokenizer) return print_error(tokenizer.error());
  std::string text = !args.text || *args.text == "-" ? read_stdin() : *args.text;
  std::vector<TokenId> ids;
  if (args.decode) {
    Result<std::vector<TokenId>> parsed = parse_ids(text);
    if (!parsed) return print_error(parsed.error());
    ids = *std::move(parsed);
    Result<std::string> decoded = tokenizer->decode(ids, args.skip_special);
    if (!decoded) return print_error(decoded.error());
    return show(args, *tokenizer, *decoded, ids);
  }
  if (args.chat) {
    Result<std::string> rendered = render(args, *tokenizer, text);
    if (!rendered) return print_error(rendered.error());
    text = *std::move(rendered);
  }
  // Templates write what else would be put around the text.
  Result<std::vector<TokenId>> encoded = tokenizer->encode(text, !args.chat && !args.no_special);
  if (!encoded) return print_error(encoded.error());
  return show(args, *tokenizer, text, *encoded);
}

}  // namespace

Command add_tokenize_command(CLI::App& root) {
  CLI::App* app =
      root.add_subcommand("tokenize", "Show the tokens of a text, or the text of a chat");
  const auto args = std::make_shared<TokenizeArgs>();
  add_text(app, "MODEL", args->model, kFolderValue, "folder with a tokenizer");
  add_text(app, "TEXT", args->text, "TEXT", "what to read; '-' or nothing: stdin");
  add_switch(app, "--ids", args->ids, "print the token ids alone, on one line");
  add_switch(app, "--decode", args->decode, "TEXT is token ids; print their text");
  add_switch(app, "--chat", args->chat,
             "TEXT is a chat, a JSON list of messages; print what the chat template makes of it");
  add_switch(app, "--json", args->json, "print text, ids and tokens as JSON");
  add_switch(app, "--no-special-tokens", args->no_special,
             "leave out what the tokenizer puts around a text, bos for example");
  add_switch(app, "--skip-special-tokens", args->skip_special, "with --decode: leave them out");
  const std::string group = "Chats";
  add_text(app, "--template", args->chat_template, "NAME|TEXT",
           "one of the model's chat templates, or the text of another")
      ->group(group);
  add_text(app, "--tools", args->tools, "JSON", "functions that the model may call")->group(group);
  add_text(app, "--variables", args->variables, "JSON",
           "an object of further variables, '{\"enable_thinking\": false}' for example")
      ->group(group);
  add_switch(app, "--no-generation-prompt", args->no_prompt, "do not begin the answer")
      ->group(group);
  add_switch(app, "--continue", args->go_on, "leave the last message open")->group(group);
  return {
      app,
      {{"mlxmill tokenize models/sample-llama 'Once upon a time'", "ids and what they stand for"},
       {"mlxmill tokenize models/sample-llama --decode '12 8 3'", "the text of token ids"},
       {"mlxmill tokenize models/sample-llama --chat '[{\"role\": \"user\", \"content\": \"Hi\"}]' "
        "--template '{{ messages[0].content }}'",
        "the prompt that the model's chat template makes"}},
      [app, args] { return run_tokenize(*app, *args); }};
}

}  // namespace mlxmill::cli
