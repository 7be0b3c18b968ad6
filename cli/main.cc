// The program: finds the command, runs it, turns what went wrong into a message and an exit status.
#include <fmt/format.h>
#include <sys/resource.h>

#include <climits>
#include <csignal>
#include <cstdio>
#include <exception>
#include <new>

#include "args.h"
#include "command.h"
#include "exit_code.h"
#include "help.h"
#include "mlxmill/version.h"
#include "terminal.h"

namespace mlxmill::cli {
namespace {

constexpr const char* kDescription =
    "mlxmill makes MLX models of Hugging Face checkpoints, quantized to the size you want.";

// A model of hundreds of shards keeps as many files open; shells often start with 256 or 1024 at
// most.
void allow_many_open_files() {
  rlimit limit{};
  if (getrlimit(RLIMIT_NOFILE, &limit) != 0) return;
#ifdef __APPLE__
  // macOS refuses more than this even where the hard limit says "infinite".
  if (limit.rlim_max > OPEN_MAX) limit.rlim_max = OPEN_MAX;
#endif
  limit.rlim_cur = limit.rlim_max;
  setrlimit(RLIMIT_NOFILE,
            &limit);  // Best effort: too few open files is reported where it happens.
}

std::vector<std::string> command_names(const CLI::App& root) {
  std::vector<std::string> names;
  for (const CLI::App* app : all_commands(root)) {
    names.push_back(app->get_name());
  }
  return names;
}

Error unknown_command(const CLI::App& root, const std::string& word) {
  Error error(Code::kUsage, fmt::format("unknown command '{}'", word));
  const std::string guess = nearest(word, command_names(root));
  if (!guess.empty()) error.hint("did you mean mlxmill " + guess + "?");
  return error.hint("mlxmill help lists the commands");
}

// Everything the program knows, and how far the command line got in it.
class Program {
 public:
  Program();
  int run(int argc, char** argv);

 private:
  int run_parsed();
  int run_help();
  int print_help(const CLI::App* app) const;
  const CLI::App* chosen() const;

  CLI::App root_;
  std::vector<Command> commands_;
  CLI::App* help_ = nullptr;
  std::optional<std::string> help_topic_;
};

Program::Program() : root_(kDescription, "mlxmill") {
  // Leftovers are reported in our own words, with the nearest real name.
  root_.allow_extras();
  // By our own name: that of CLI11's default group depends on its version. Subcommands inherit it.
  root_.option_defaults()->group("Flags");
  root_.require_subcommand(0, 1);
  root_.set_help_flag("-h,--help", "show this help");
  root_.set_version_flag("--version", version(), "show the version");
  commands_.push_back(add_convert_command(root_));
  commands_.push_back(add_plan_command(root_));
  commands_.push_back(add_download_command(root_));
  commands_.push_back(add_upload_command(root_));
  commands_.push_back(add_login_command(root_));
  commands_.push_back(add_generate_command(root_));
  commands_.push_back(add_chat_command(root_));
  commands_.push_back(add_inspect_command(root_));
  commands_.push_back(add_verify_command(root_));
  commands_.push_back(add_eval_command(root_));
  commands_.push_back(add_recipe_command(root_));
  commands_.push_back(add_logits_command(root_));
  commands_.push_back(add_architectures_command(root_));
  commands_.push_back(add_tokenize_command(root_));
  commands_.push_back(add_info_command(root_));
  commands_.push_back(add_completion_command(root_));
  help_ = root_.add_subcommand("help", "Show help, about a command or about all");
  // Any text, so that a wrong one gets the same answer as a wrong command; the choices serve
  // completion.
  add_text(help_, "COMMAND", help_topic_, join_choices(command_names(root_)),
           "the command to explain");
}

const CLI::App* Program::chosen() const {
  const auto parsed = root_.get_subcommands();
  return parsed.empty() ? &root_ : parsed.front();
}

int Program::print_help(const CLI::App* app) const {
  for (const Command& command : commands_) {
    if (command.app != app) continue;
    print_out(command_help(command));
    return kExitOk;
  }
  print_out(program_help(root_, commands_));
  return kExitOk;
}

int Program::run_help() {
  if (!help_topic_) return print_help(&root_);
  for (const CLI::App* app : all_commands(root_)) {
    if (app->get_name() == *help_topic_) return print_help(app);
  }
  return print_error(unknown_command(root_, *help_topic_));
}

int Program::run_parsed() {
  const CLI::App* app = chosen();
  const std::vector<std::string> leftovers = root_.remaining();
  if (app == &root_ && !leftovers.empty() && leftovers.front()[0] != '-') {
    return print_error(unknown_command(root_, leftovers.front()));
  }
  for (const CLI::App* level : std::initializer_list<const CLI::App*>{&root_, app}) {
    const Status complete = check_leftovers(*level);
    if (!complete) return print_error(complete.error());
  }
  if (app == help_) return run_help();
  for (const Command& command : commands_) {
    if (command.app == app) return command.run();
  }
  const std::string help = program_help(root_, commands_);
  std::fwrite(help.data(), 1, help.size(), stderr);
  return kExitUsage;
}

int Program::run(int argc, char** argv) {
  try {
    root_.parse(argc, argv);
  } catch (const CLI::CallForHelp&) {
    return print_help(chosen());
  } catch (const CLI::CallForVersion&) {
    print_out(fmt::format("mlxmill {}\n", version()));
    return kExitOk;
  } catch (const CLI::ArgumentMismatch& problem) {
    const std::string text = problem.what();
    return print_error(Error(Code::kUsage, text.substr(0, text.find(':')) + " needs a value"));
  } catch (const CLI::ParseError& problem) {
    return print_error(Error(Code::kUsage, problem.what()));
  }
  return run_parsed();
}

int bug(const char* what) {
  print_message("error", fmt::format("internal: {}", what));
  print_message("hint",
                "this is a defect in mlxmill; please report it with the command that caused it");
  return kExitBug;
}

}  // namespace

int run_program(int argc, char** argv) {
  try {
    allow_many_open_files();
    // A file beyond `ulimit -f` is then a write error with a message.
    std::signal(SIGXFSZ, SIG_IGN);
    const int status = Program().run(argc, argv);
    return close_stdout() || status != kExitOk ? status : static_cast<int>(kExitIo);
  } catch (const std::bad_alloc&) {
    // Without allocating: there may be nothing left to allocate from.
    std::fputs("error: not enough memory\nhint: try --memory 64M and fewer --threads\n", stderr);
    return kExitNoMemory;
  } catch (const std::exception& problem) {
    return bug(problem.what());
  } catch (...) {
    return bug("unknown exception");
  }
}

}  // namespace mlxmill::cli

int main(int argc, char** argv) { return mlxmill::cli::run_program(argc, argv); }
