// What a command is to the program.
#pragma once

#include <CLI/CLI.hpp>
#include <functional>
#include <string>
#include <vector>

namespace mlxmill::cli {

/// A command line to copy, and what it does.
struct Example {
  std::string command;
  std::string meaning;
};

/// One subcommand: its arguments, which live in `app`, and what runs once they are parsed.
struct Command {
  CLI::App* app;
  std::vector<Example> examples;
  std::function<int()> run;  ///< Returns the exit status.
};

/// Each adds its subcommand to `root`. One file per command.
Command add_convert_command(CLI::App& root);
Command add_plan_command(CLI::App& root);
Command add_download_command(CLI::App& root);
Command add_upload_command(CLI::App& root);
Command add_login_command(CLI::App& root);
Command add_inspect_command(CLI::App& root);
Command add_generate_command(CLI::App& root);
Command add_chat_command(CLI::App& root);
Command add_verify_command(CLI::App& root);
Command add_eval_command(CLI::App& root);
Command add_recipe_command(CLI::App& root);
Command add_logits_command(CLI::App& root);
Command add_architectures_command(CLI::App& root);
Command add_tokenize_command(CLI::App& root);
Command add_info_command(CLI::App& root);
Command add_completion_command(CLI::App& root);

}  // namespace mlxmill::cli
