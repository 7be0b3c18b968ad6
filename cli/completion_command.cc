// mlxmill completion: scripts that teach a shell this program's words.
#include <memory>

#include "args.h"
#include "command.h"
#include "completion.h"
#include "exit_code.h"
#include "terminal.h"

namespace mlxmill::cli {

Command add_completion_command(CLI::App& root) {
  CLI::App* app = root.add_subcommand("completion", "Print a completion script for a shell");
  const auto shell = std::make_shared<std::optional<std::string>>();
  CLI::Option* option =
      add_choice(app, "SHELL", *shell, {"bash", "zsh", "fish"}, "bash, zsh or fish");
  return {app,
          {{"mlxmill completion bash", "for ~/.bashrc: source <(mlxmill completion bash)"}},
          [&root, app, shell, option]() -> int {
            if (!*shell) return print_error(missing_argument(*app, option->get_type_name()));
            if (*shell == "bash") print_out(bash_completion(root));
            if (*shell == "zsh") print_out(zsh_completion(root));
            if (*shell == "fish") print_out(fish_completion(root));
            return kExitOk;
          }};
}

}  // namespace mlxmill::cli
