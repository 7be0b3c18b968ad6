#include "help.h"

#include <fmt/format.h>

#include <algorithm>

#include "exit_code.h"

namespace mlxmill::cli {
namespace {

// Columns of a help text, and where its explanations start.
constexpr std::size_t kWidth = 96;
constexpr std::size_t kColumn = 28;

// `text` broken into lines of at most `width` columns.
std::vector<std::string> wrap(const std::string& text, std::size_t width) {
  std::vector<std::string> lines(1);
  std::size_t start = 0;
  while (start < text.size()) {
    const std::size_t end = std::min(text.find(' ', start), text.size());
    const std::string word = text.substr(start, end - start);
    if (!lines.back().empty() && lines.back().size() + 1 + word.size() > width) {
      lines.emplace_back();
    }
    if (!lines.back().empty()) lines.back() += ' ';
    lines.back() += word;
    start = end + 1;
  }
  return lines;
}

// "  name       explanation", the explanation wrapped in its column.
std::string entry(const std::string& name, const std::string& explanation) {
  const std::vector<std::string> lines = wrap(explanation, kWidth - kColumn);
  std::string result = "  " + name;
  std::size_t first = 0;
  if (result.size() + 2 <= kColumn) {
    result += std::string(kColumn - result.size(), ' ') + lines[0];
    first = 1;
  }
  result += "\n";
  for (std::size_t i = first; i < lines.size(); ++i) {
    result += std::string(kColumn, ' ') + lines[i] + "\n";
  }
  return result;
}

std::string examples_text(const std::vector<Example>& examples) {
  std::string result = "Examples:\n";
  for (const Example& example : examples) {
    result += fmt::format("  {}\n      {}\n", example.command, example.meaning);
  }
  return result;
}

std::string exit_codes_text() {
  std::string result = "Exit codes:\n";
  for (const ExitMeaning& entry : kExitMeanings) {
    result += fmt::format("  {:>3}  {}\n", static_cast<int>(entry.status), entry.meaning);
  }
  return result;
}

// "-o, --output, --mlx-path FOLDER"
std::string signature(const CLI::Option& option) {
  if (is_positional(option)) return option.get_name(true, false);
  std::vector<std::string> names;
  for (const std::string& name : option.get_snames()) names.push_back("-" + name);
  for (const std::string& name : option.get_lnames()) names.push_back("--" + name);
  std::string result = fmt::format("{}", fmt::join(names, ", "));
  if (takes_value(option)) result += " " + option.get_type_name();
  return result;
}

// Groups in the order in which their first options were added.
std::vector<std::string> group_order(const std::vector<const CLI::Option*>& options) {
  std::vector<std::string> groups;
  for (const CLI::Option* option : options) {
    const std::string& group = option->get_group();
    if (std::find(groups.begin(), groups.end(), group) == groups.end()) groups.push_back(group);
  }
  return groups;
}

std::string options_text(const CLI::App& app) {
  std::string result;
  std::string arguments;
  const std::vector<const CLI::Option*> options = app.get_options();
  for (const CLI::Option* option : options) {
    if (is_positional(*option)) arguments += entry(signature(*option), option->get_description());
  }
  if (!arguments.empty()) result += "\nArguments:\n" + arguments;
  // --help comes first in CLI11's list and last in ours.
  std::vector<std::string> groups = group_order(options);
  std::stable_partition(groups.begin(), groups.end(),
                        [](const std::string& group) { return group != "Flags"; });
  for (const std::string& group : groups) {
    std::string flags;
    for (const CLI::Option* option : options) {
      if (is_positional(*option) || option->get_group() != group) continue;
      flags += entry(signature(*option), option->get_description());
    }
    if (!flags.empty()) result += fmt::format("\n{}:\n{}", group, flags);
  }
  return result;
}

}  // namespace

std::vector<const CLI::App*> all_commands(const CLI::App& root) {
  return root.get_subcommands([](const CLI::App*) { return true; });
}

bool is_positional(const CLI::Option& option) { return option.get_positional(); }

bool takes_value(const CLI::Option& option) { return option.get_items_expected_max() > 0; }

std::string program_help(const CLI::App& root, const std::vector<Command>& commands) {
  std::string result =
      fmt::format("{}\n\nUsage: mlxmill COMMAND [ARGUMENTS] [FLAGS]\n\n", root.get_description());
  std::vector<Example> first;
  for (const Command& command : commands) {
    if (!command.examples.empty()) first.push_back(command.examples.front());
  }
  result += examples_text(first) + "\nCommands:\n";
  for (const CLI::App* app : all_commands(root)) {
    result += entry(app->get_name(), app->get_description());
  }
  result += options_text(root) + "\n" + exit_codes_text();
  return result + "\nMore about a command: mlxmill help COMMAND\n";
}

std::string command_help(const Command& command) {
  const CLI::App& app = *command.app;
  std::string usage = "Usage: mlxmill " + app.get_name();
  for (const CLI::Option* option : app.get_options()) {
    if (is_positional(*option)) usage += " " + signature(*option);
  }
  return fmt::format("{}\n\n{} [FLAGS]\n\n{}{}\n{}", app.get_description(), usage,
                     examples_text(command.examples), options_text(app), exit_codes_text());
}

}  // namespace mlxmill::cli
