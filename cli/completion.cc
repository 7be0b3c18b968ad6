#include "completion.h"

#include <fmt/format.h>

#include <algorithm>
#include <vector>

#include "args.h"
#include "help.h"
#include "mlxmill/recipe.h"

namespace mlxmill::cli {
namespace {

using Options = std::vector<const CLI::Option*>;

std::vector<std::string> names_of(const std::vector<const CLI::App*>& apps) {
  std::vector<std::string> names;
  names.reserve(apps.size());
  for (const CLI::App* app : apps) names.push_back(app->get_name());
  return names;
}

std::vector<std::string> spellings(const CLI::Option& option) {
  std::vector<std::string> names;
  for (const std::string& name : option.get_snames()) names.push_back("-" + name);
  for (const std::string& name : option.get_lnames()) names.push_back("--" + name);
  return names;
}

// The values to choose from, separated by blanks; "" when any text will do.
std::string choices_of(const CLI::Option& option) {
  std::string names = option.get_type_name();
  if (names == kRecipeValue) names = join_choices(recipe_names());
  if (names.find('|') == std::string::npos && names != "mlx") return "";
  std::replace(names.begin(), names.end(), '|', ' ');
  return names;
}

bool is_folder(const CLI::Option& option) { return option.get_type_name() == kFolderValue; }

bool is_file(const CLI::Option& option) {
  return option.get_type_name() == kFileValue || option.get_type_name() == kPathValue;
}

bool is_recipe(const CLI::Option& option) { return option.get_type_name() == kRecipeValue; }

// ---- bash

// What fills COMPREPLY for a value of `option`; "" when nothing can be offered.
std::string bash_values(const CLI::Option& option) {
  const std::string choices = choices_of(option);
  if (is_recipe(option)) return fmt::format("_mlxmill_words_or_files '{}'", choices);
  if (!choices.empty()) return fmt::format("_mlxmill_words '{}'", choices);
  if (is_folder(option)) return "_mlxmill_paths -d";
  if (is_file(option)) return "_mlxmill_paths -f";
  return ":";
}

std::string bash_command(const CLI::App& app) {
  std::string values;
  std::vector<std::string> positionals;
  for (const CLI::Option* option : Options(app.get_options())) {
    if (is_positional(*option)) {
      positionals.push_back(bash_values(*option));
    } else if (takes_value(*option)) {
      values += fmt::format("        {}) {}; return ;;\n", join_choices(spellings(*option)),
                            bash_values(*option));
    }
  }
  std::string positional = positionals.empty() ? ":" : positionals.back();
  // The place is counted in words, flags among them: enough where flags come last.
  for (std::size_t i = positionals.size(); i-- > 1;) {
    positional = fmt::format("if [ \"$COMP_CWORD\" -eq {} ]; then {}; else {}; fi", i + 1,
                             positionals[i - 1], positional);
  }
  std::string result = fmt::format("    {})\n", app.get_name());
  if (!values.empty()) result += fmt::format("      case \"$before\" in\n{}      esac\n", values);
  return result + fmt::format(
                      "      case \"$word\" in\n"
                      "        -*) _mlxmill_words '{}' ;;\n"
                      "        *) {} ;;\n"
                      "      esac ;;\n",
                      join_choices(option_spellings(app), " "), positional);
}

// ---- zsh

// Inside '...' of _arguments: brackets and colons have a meaning of their own.
std::string zsh_escape(const std::string& text) {
  std::string result;
  for (const char c : text) {
    if (c == '\'') {
      result += "'\\''";
    } else {
      if (c == '[' || c == ']' || c == ':' || c == '\\') result += '\\';
      result += c;
    }
  }
  return result;
}

std::string zsh_values(const CLI::Option& option) {
  const std::string choices = choices_of(option);
  if (is_recipe(option)) return ":recipe:_mlxmill_recipes";
  if (!choices.empty()) return fmt::format(":value:({})", choices);
  if (is_folder(option)) return ":folder:_files -/";
  if (is_file(option)) return ":path:_files";
  return ":value: ";
}

std::string zsh_command(const CLI::App& app) {
  std::string result = fmt::format("    {})\n      _arguments", app.get_name());
  int place = 0;
  for (const CLI::Option* option : Options(app.get_options())) {
    if (is_positional(*option)) {
      result += fmt::format(" \\\n        '{}{}'", ++place, zsh_values(*option));
      continue;
    }
    const std::string values = takes_value(*option) ? zsh_values(*option) : "";
    for (const std::string& name : spellings(*option)) {
      result += fmt::format(" \\\n        '{}[{}]{}'", name, zsh_escape(option->get_description()),
                            values);
    }
  }
  return result + " ;;\n";
}

// ---- fish

std::string fish_escape(const std::string& text) {
  std::string result;
  for (const char c : text) {
    if (c == '\'' || c == '\\') result += '\\';
    result += c;
  }
  return result;
}

std::string fish_values(const CLI::Option& option) {
  const std::string choices = choices_of(option);
  if (is_recipe(option)) return fmt::format(" -r -F -a '{}'", choices);
  if (!choices.empty()) return fmt::format(" -x -a '{}'", choices);
  if (is_folder(option)) return " -x -a '(__fish_complete_directories)'";
  if (is_file(option)) return " -r -F";
  return " -x";
}

std::string fish_option(const std::string& command, const CLI::Option& option) {
  const std::string when =
      fmt::format("complete -c mlxmill -n '__fish_seen_subcommand_from {}'", command);
  if (is_positional(option)) {
    return is_file(option) ? when + " -F\n" : when + fish_values(option) + "\n";
  }
  std::string line = when;
  for (const std::string& name : option.get_snames()) line += " -s " + name;
  for (const std::string& name : option.get_lnames()) line += " -l " + name;
  if (takes_value(option)) line += fish_values(option);
  return line + fmt::format(" -d '{}'\n", fish_escape(option.get_description()));
}

}  // namespace

std::string bash_completion(const CLI::App& root) {
  std::string commands;
  for (const CLI::App* app : all_commands(root)) commands += bash_command(*app);
  return fmt::format(
      "# bash completion for mlxmill; install: source <(mlxmill completion bash)\n"
      "_mlxmill_words() {{ COMPREPLY=($(compgen -W \"$1\" -- \"$word\")); }}\n"
      "_mlxmill_paths() {{ local IFS=$'\\n'; COMPREPLY=($(compgen \"$1\" -- \"$word\")); }}\n"
      "_mlxmill_words_or_files() {{\n"
      "  local IFS=$' \\n'\n"
      "  local words=($(compgen -W \"$1\" -- \"$word\"))\n"
      "  _mlxmill_paths -f || :\n"
      "  COMPREPLY+=(${{words[@]+\"${{words[@]}}\"}})\n"
      "}}\n"
      "_mlxmill() {{\n"
      "  local word=\"${{COMP_WORDS[COMP_CWORD]}}\" before=\"${{COMP_WORDS[COMP_CWORD - 1]}}\"\n"
      "  COMPREPLY=()\n"
      "  if [ \"$COMP_CWORD\" -eq 1 ]; then\n"
      "    _mlxmill_words '{} {}'\n"
      "    return\n"
      "  fi\n"
      "  case \"${{COMP_WORDS[1]}}\" in\n{}  esac\n"
      "}}\n"
      "complete -o filenames -F _mlxmill mlxmill\n",
      join_choices(names_of(all_commands(root)), " "), join_choices(option_spellings(root), " "),
      commands);
}

std::string zsh_completion(const CLI::App& root) {
  std::string names;
  std::string commands;
  for (const CLI::App* app : all_commands(root)) {
    names += fmt::format("      '{}:{}'\n", app->get_name(), zsh_escape(app->get_description()));
    commands += zsh_command(*app);
  }
  return fmt::format(
      "#compdef mlxmill\n"
      "# zsh completion for mlxmill; install: mlxmill completion zsh > \"${{fpath[1]}}/_mlxmill\"\n"
      "_mlxmill_recipes() {{ compadd -- {}; _files }}\n"
      "_mlxmill() {{\n"
      "  local -a commands\n"
      "  if (( CURRENT == 2 )); then\n"
      "    commands=(\n{}    )\n"
      "    _describe command commands\n"
      "    return\n"
      "  fi\n"
      "  local command=\"${{words[2]}}\"\n"
      "  shift words\n"
      "  (( CURRENT-- ))\n"
      "  case \"$command\" in\n{}  esac\n"
      "}}\n"
      "if [ \"${{funcstack[1]}}\" = _mlxmill ]; then _mlxmill \"$@\"; else compdef _mlxmill "
      "mlxmill; fi\n",
      join_choices(recipe_names(), " "), names, commands);
}

std::string fish_completion(const CLI::App& root) {
  std::string result =
      "# fish completion for mlxmill; install: mlxmill completion fish > "
      "~/.config/fish/completions/mlxmill.fish\n"
      "complete -c mlxmill -f\n";
  for (const CLI::App* app : all_commands(root)) {
    result += fmt::format("complete -c mlxmill -n __fish_use_subcommand -a {} -d '{}'\n",
                          app->get_name(), fish_escape(app->get_description()));
  }
  for (const CLI::App* app : all_commands(root)) {
    for (const CLI::Option* option : Options(app->get_options())) {
      result += fish_option(app->get_name(), *option);
    }
  }
  return result;
}

}  // namespace mlxmill::cli
