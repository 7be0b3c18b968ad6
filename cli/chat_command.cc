// mlxmill chat: a conversation in the terminal.
#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cstdio>
#include <fstream>
#include <iterator>
#include <memory>

#include "command.h"
#include "exit_code.h"
#include "generation_args.h"
#include "interrupt.h"
#include "line_editor.h"
#include "progress_line.h"
#include "terminal.h"

namespace mlxmill::cli {
namespace {

// mlx_lm.chat's.
constexpr int kDefaultAnswerTokens = 256;
constexpr const char* kPrompt = ">>> ";
constexpr const char* kContinuation = "... ";

constexpr std::string_view kHelp =
    "/system [TEXT]  set the system message, or none; the conversation begins anew\n"
    "/reset          forget the conversation\n"
    "/retry          draw the last answer anew\n"
    "/save FILE      write the conversation to a file, as JSON\n"
    "/load FILE      go on with a saved one\n"
    "/help           this list\n"
    "/exit           leave; so does Ctrl-D\n"
    "A line that ends in \\ goes on in the next; so does all between two \"\"\".\n"
    "Ctrl-C stops the answer.\n";

struct ChatArgs {
  GenerationArgs shared;
};

// What a person sees that is no answer goes to stderr.
void tell(std::string_view text) { std::fwrite(text.data(), 1, text.size(), stderr); }

class Conversation {
 public:
  Conversation(ChatSession session, bool quiet) : session_(std::move(session)), quiet_(quiet) {}

  /// One line of input. False: leave.
  bool take(const std::string& line) {
    if (line.find_first_not_of(" \t\n") == std::string::npos) return true;
    if (line[0] != '/') {
      show([&] { return session_.say(line, shown()); });
      return true;
    }
    const std::size_t space = line.find_first_of(" \t\n");
    const std::string command = line.substr(0, space);
    const std::size_t rest =
        space == std::string::npos ? space : line.find_first_not_of(" \t\n", space);
    return run(command, rest == std::string::npos ? std::string() : line.substr(rest));
  }

  int status() const { return status_; }

 private:
  bool run(const std::string& command, const std::string& argument) {
    if (command == "/exit" || command == "/quit" || command == "/bye") return false;
    if (command == "/help" || command == "/?") {
      tell(kHelp);
    } else if (command == "/reset" || command == "/clear") {
      session_.reset();
    } else if (command == "/system") {
      session_.set_system(argument);
    } else if (command == "/retry") {
      show([&] { return session_.retry(shown()); });
    } else if (command == "/save") {
      report(save(argument));
    } else if (command == "/load") {
      report(load(argument));
    } else {
      report(unknown(command));
    }
    return true;
  }

  static Error unknown(const std::string& command) {
    Error error(Code::kUsage, fmt::format("unknown command '{}'", command));
    const std::string guess =
        nearest(command, {"/system", "/reset", "/retry", "/save", "/load", "/help", "/exit"});
    if (!guess.empty()) error.hint("did you mean " + guess + "?");
    return error.hint("/help lists the commands");
  }

  Status save(const std::string& file) {
    if (file.empty()) return Error(Code::kUsage, "/save needs the name of a file");
    MLXMILL_ASSIGN(const std::string json, messages_json(session_.messages()));
    // Complete under another name first: a full disk leaves an older file as it was.
    const std::string unfinished = file + ".unfinished";
    std::ofstream stream(unfinished, std::ios::binary);
    stream << json << '\n';
    stream.close();
    std::error_code failed;
    if (stream) std::filesystem::rename(unfinished, file, failed);
    if (!stream || failed) {
      std::filesystem::remove(unfinished, failed);
      return Error(Code::kIo, "cannot be written").at(file);
    }
    if (!quiet_) tell(fmt::format("saved {} messages\n", session_.messages().size()));
    return {};
  }

  Status load(const std::string& file) {
    if (file.empty()) return Error(Code::kUsage, "/load needs the name of a file");
    std::ifstream stream(file, std::ios::binary);
    const std::string json(std::istreambuf_iterator<char>(stream), {});
    if (!stream) return Error(Code::kIo, "cannot be read").at(file);
    Result<std::vector<ChatMessage>> messages = parse_messages(json);
    if (!messages) return Error(messages.error()).at(file);
    Status set = session_.set_messages(*std::move(messages));
    if (!set) return Error(set.error()).at(file);
    if (!quiet_) tell(fmt::format("loaded {} messages\n", session_.messages().size()));
    return {};
  }

  static OnText shown() {
    return [](std::string_view text) {
      print_out(printable_answer(text));
      std::fflush(stdout);
      return !interrupted();
    };
  }

  template <typename Say>
  void show(const Say& say) {
    catch_interrupts_patiently();
    const Result<Generated> answer = say();
    print_out("\n");
    std::fflush(stdout);
    forget_interrupts();
    if (!answer) {
      report(answer.error());
    } else if (!quiet_ && answer->finish != Finish::kEndToken) {
      tell(fmt::format("({})\n", finish_name(answer->finish)));
    }
  }

  void report(const Status& status) {
    status_ = status ? static_cast<int>(kExitOk) : print_error(status.error());
  }

  ChatSession session_;
  bool quiet_;
  int status_ = kExitOk;
};

int run_chat(const CLI::App& app, const ChatArgs& args) {
  ProgressLine progress(progress_style(args.shared.model.quiet));
  Callbacks callbacks;
  callbacks.progress = [&](const Progress& now) { progress.update(now); };
  callbacks.warning = [&](std::string_view text) { progress.message("warning", text); };
  callbacks.cancelled = interrupted;
  const Result<OpenedModel> opened = open_model(app, args.shared, callbacks);
  progress.finish(opened.has_value());
  if (!opened) return print_error(opened.error());
  if (opened->tokenizer.chat_templates().empty()) {
    return print_error(Error(Code::kUnsupported, "this model has no chat template")
                           .at(args.shared.model.path.value_or(args.shared.model_flag.value_or("")))
                           .hint("mlxmill generate goes on with any text"));
  }
  const Result<GenerateOptions> options =
      generate_options(args.shared, opened->tokenizer, kDefaultAnswerTokens);
  if (!options) return print_error(options.error());
  Conversation conversation(ChatSession(opened->model, opened->tokenizer, *options,
                                        args.shared.system_prompt.value_or(""),
                                        args.shared.chat_template_config.value_or("")),
                            args.shared.model.quiet);
  LineEditor editor(history_file("chat_history"));
  if (editor.is_terminal() && !args.shared.model.quiet)
    tell("/help lists the commands, Ctrl-D leaves\n");
  while (true) {
    const LineEditor::Line line = read_message(editor, kPrompt, kContinuation);
    if (line.end == LineEditor::End::kInput) break;
    if (line.end == LineEditor::End::kLine && !conversation.take(line.text)) break;
  }
  return editor.is_terminal() ? static_cast<int>(kExitOk) : conversation.status();
}

}  // namespace

Command add_chat_command(CLI::App& root) {
  CLI::App* app = root.add_subcommand("chat", "Talk to a model in the terminal");
  const auto args = std::make_shared<ChatArgs>();
  add_generation_flags(app, args->shared, kDefaultAnswerTokens);
  return {app, {}, [app, args] { return run_chat(*app, *args); }};
}

}  // namespace mlxmill::cli
