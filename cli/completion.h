// Shell completions, generated from the CLI11 app: they offer exactly what the program takes.
#pragma once

#include <CLI/CLI.hpp>
#include <string>

namespace mlxmill::cli {

/// Scripts for `source`ing; the first comment line of each says how to install it.
std::string bash_completion(const CLI::App& root);
std::string zsh_completion(const CLI::App& root);
std::string fish_completion(const CLI::App& root);

}  // namespace mlxmill::cli
