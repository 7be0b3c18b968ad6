// mlxmill login: a token for the Hub.
#include <fmt/format.h>
#include <termios.h>
#include <unistd.h>

#include <cstdio>
#include <memory>

#include "args.h"
#include "command.h"
#include "exit_code.h"
#include "json_output.h"
#include "mlxmill/upload.h"
#include "table.h"
#include "terminal.h"

namespace mlxmill::cli {
namespace {

struct LoginArgs {
  bool json = false;
};

// One line of stdin; what is typed at a terminal is not shown.
std::string read_token() {
  const bool asked = isatty(STDIN_FILENO) == 1;
  termios shown{};
  if (asked) {
    std::fputs("token (from https://huggingface.co/settings/tokens): ", stderr);
    tcgetattr(STDIN_FILENO, &shown);
    termios hidden = shown;
    hidden.c_lflag &= ~static_cast<tcflag_t>(ECHO);
    tcsetattr(STDIN_FILENO, TCSANOW, &hidden);
  }
  std::string token;
  for (int c = std::getchar(); c != EOF && c != '\n' && token.size() < 4096; c = std::getchar())
    token += static_cast<char>(c);
  if (asked) {
    tcsetattr(STDIN_FILENO, TCSANOW, &shown);
    std::fputs("\n", stderr);
  }
  while (!token.empty() && (token.back() == '\r' || token.back() == ' ')) token.pop_back();
  return token;
}

int run_login(const LoginArgs& args) {
  const Result<LoginReport> report = login(read_token());
  if (!report) return print_error(report.error());
  if (report->shadowed) {
    print_message("warning", "HF_TOKEN is set and comes before the token that was stored");
  }
  if (args.json) {
    print_json({{"user", report->user},
                {"token_name", report->token_name},
                {"role", report->role},
                {"path", report->path.string()}});
    return kExitOk;
  }
  Summary summary;
  summary.add("user", printable(report->user));
  summary.add("token",
              fmt::format("{}, {} access", printable(report->token_name), printable(report->role)));
  summary.add("stored", printable(report->path.string()));
  print_out(summary.text());
  return kExitOk;
}

}  // namespace

Command add_login_command(CLI::App& root) {
  CLI::App* app =
      root.add_subcommand("login", "Check a token of the Hub and store it; it is read from stdin");
  const auto args = std::make_shared<LoginArgs>();
  add_switch(app, "--json", args->json, "print the result as JSON");
  return {app,
          {{"mlxmill login < token.txt",
            "stored where huggingface_hub looks for it, for its owner alone"}},
          [args] { return run_login(*args); }};
}

}  // namespace mlxmill::cli
