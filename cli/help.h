// The help texts, made from the CLI11 app so that they cannot say anything it does not do.
#pragma once

#include <CLI/CLI.hpp>
#include <string>
#include <vector>

#include "command.h"

namespace mlxmill::cli {

/// The subcommands of `root` in the order in which they were added.
std::vector<const CLI::App*> all_commands(const CLI::App& root);

/// Help of the whole program: examples, commands, exit codes.
std::string program_help(const CLI::App& root, const std::vector<Command>& commands);

/// Help of one command: examples, arguments and flags by group, exit codes.
std::string command_help(const Command& command);

/// An option's positional name, value name and spellings, without decoration.
bool is_positional(const CLI::Option& option);
bool takes_value(const CLI::Option& option);

}  // namespace mlxmill::cli
