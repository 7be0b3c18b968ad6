// Arguments: CLI11 options that convert and complain in this program's own words.
#pragma once

#include <CLI/CLI.hpp>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "mlxmill/result.h"

namespace mlxmill::cli {

/// What --threads takes at most.
inline constexpr int kMostThreads = 1024;

/// Value names that --help shows and from which the completions know what to offer; a list of
/// choices is named "a|b|c".
inline constexpr const char* kFolderValue = "FOLDER";
inline constexpr const char* kFileValue = "FILE";
inline constexpr const char* kPathValue = "PATH";
/// A built-in recipe or a file.
inline constexpr const char* kRecipeValue = "NAME|FILE";

/// "a|b|c".
std::string join_choices(const std::vector<std::string>& choices, std::string_view separator = "|");

/// An option that takes any text. Given twice, the last one counts, as in Python's argparse.
CLI::Option* add_text(CLI::App* app, const std::string& names, std::optional<std::string>& value,
                      const std::string& value_name, const std::string& help);

/// An option that may be given several times, or a positional of several words.
CLI::Option* add_list(CLI::App* app, const std::string& names, std::vector<std::string>& values,
                      const std::string& value_name, const std::string& help);

/// An option that takes one of `choices`.
CLI::Option* add_choice(CLI::App* app, const std::string& names, std::optional<std::string>& value,
                        const std::vector<std::string>& choices, const std::string& help);

/// An option that takes a whole number within [low, high].
CLI::Option* add_integer(CLI::App* app, const std::string& names, std::optional<int>& value,
                         int low, int high, const std::string& help);

/// An option that takes a size of at least `low` bytes; see parse_size.
CLI::Option* add_size(CLI::App* app, const std::string& names, std::optional<std::uint64_t>& value,
                      std::uint64_t low, const std::string& help);

/// A flag without a value; giving it twice is the same as once.
CLI::Option* add_switch(CLI::App* app, const std::string& names, bool& value,
                        const std::string& help);

/// "512M", "4GiB", "1500000": K, M, G, T and KiB.. are powers of 1024, KB.. powers of 1000, case
/// ignored. Empty for anything else, and for more than 64 bits hold.
std::optional<std::uint64_t> parse_size(std::string_view text);

/// The candidate that `word` was probably meant to be; "" when none is near.
std::string nearest(std::string_view word, const std::vector<std::string>& candidates);

/// Every spelling of the options of `app`, with their dashes.
std::vector<std::string> option_spellings(const CLI::App& app);

/// What is wrong with the words that no option or positional of `app` took; ok when there are none.
Status check_leftovers(const CLI::App& app);

/// The error of a command that needs an argument it did not get.
Error missing_argument(const CLI::App& app, std::string_view argument);

/// `text` without the slashes at its end, so that "out/" and "out" name the same folder; "/" stays.
std::string without_trailing_slash(std::string text);

}  // namespace mlxmill::cli
