#include "args.h"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <limits>
#include <numeric>

namespace mlxmill::cli {
namespace {

// An option whose text `take` converts; `take` returns what is wrong with it, "" for nothing.
template <typename Take>
CLI::Option* add_converted(CLI::App* app, const std::string& names, const std::string& value_name,
                           const std::string& help, Take take) {
  const std::string shown = names.substr(names.rfind(',') + 1);
  return app
      ->add_option_function<std::string>(
          names,
          [take, shown](const std::string& text) {
            const std::string problem = take(text);
            // CLI11's own way for a conversion to fail; caught in main.
            if (!problem.empty()) throw CLI::ValidationError(shown, problem);
          },
          help)
      ->type_name(value_name)
      ->multi_option_policy(CLI::MultiOptionPolicy::TakeLast);
}

// Insertions, deletions and replacements that turn one word into the other (Levenshtein).
std::size_t edit_distance(std::string_view a, std::string_view b) {
  std::vector<std::size_t> row(b.size() + 1);
  std::iota(row.begin(), row.end(), std::size_t{0});
  for (std::size_t i = 0; i < a.size(); ++i) {
    std::size_t diagonal = row[0];
    row[0] = i + 1;
    for (std::size_t j = 0; j < b.size(); ++j) {
      const std::size_t replaced = diagonal + (a[i] == b[j] ? 0 : 1);
      diagonal = row[j + 1];
      row[j + 1] = std::min({replaced, row[j] + 1, diagonal + 1});
    }
  }
  return row.back();
}

std::optional<std::uint64_t> unit_bytes(std::string unit) {
  std::transform(unit.begin(), unit.end(), unit.begin(), [](unsigned char c) {
    return static_cast<char>(c >= 'A' && c <= 'Z' ? c - 'A' + 'a' : c);
  });
  if (unit.empty() || unit == "b") return 1;
  constexpr std::string_view kPrefixes = "kmgt";
  const std::size_t prefix = kPrefixes.find(unit[0]);
  if (prefix == std::string_view::npos) return std::nullopt;
  const std::string rest = unit.substr(1);
  if (!rest.empty() && rest != "b" && rest != "ib") return std::nullopt;
  const std::uint64_t base = rest == "b" ? 1000 : 1024;
  std::uint64_t bytes = base;
  for (std::size_t i = 0; i < prefix; ++i) bytes *= base;
  return bytes;
}

// Where to read on; the program's own name is no command.
std::string help_hint(const CLI::App& app) {
  return app.get_parent() == nullptr ? "see mlxmill help" : "see mlxmill help " + app.get_name();
}

}  // namespace

std::string join_choices(const std::vector<std::string>& choices, std::string_view separator) {
  return fmt::format("{}", fmt::join(choices, separator));
}

CLI::Option* add_text(CLI::App* app, const std::string& names, std::optional<std::string>& value,
                      const std::string& value_name, const std::string& help) {
  return add_converted(app, names, value_name, help, [&value](const std::string& text) {
    if (text.empty()) return std::string("needs a value that is not empty");
    value = text;
    return std::string();
  });
}

CLI::Option* add_list(CLI::App* app, const std::string& names, std::vector<std::string>& values,
                      const std::string& value_name, const std::string& help) {
  CLI::Option* option = app->add_option(names, values, help)->type_name(value_name);
  // A flag takes one word each time, so that what follows it can be a positional.
  if (names[0] == '-') option->expected(1)->multi_option_policy(CLI::MultiOptionPolicy::TakeAll);
  return option;
}

CLI::Option* add_choice(CLI::App* app, const std::string& names, std::optional<std::string>& value,
                        const std::vector<std::string>& choices, const std::string& help) {
  const auto take = [&value, choices](const std::string& text) {
    if (std::find(choices.begin(), choices.end(), text) == choices.end()) {
      return fmt::format("'{}' is not one of {}", text, join_choices(choices, ", "));
    }
    value = text;
    return std::string();
  };
  return add_converted(app, names, join_choices(choices), help, take);
}

CLI::Option* add_integer(CLI::App* app, const std::string& names, std::optional<int>& value,
                         int low, int high, const std::string& help) {
  return add_converted(app, names, "N", help, [&value, low, high](const std::string& text) {
    int number = 0;
    const char* end = text.data() + text.size();
    const auto [stop, problem] = std::from_chars(text.data(), end, number);
    if (problem != std::errc() || stop != end || number < low || number > high) {
      return fmt::format("expected a whole number from {} to {}, got '{}'", low, high, text);
    }
    value = number;
    return std::string();
  });
}

CLI::Option* add_size(CLI::App* app, const std::string& names, std::optional<std::uint64_t>& value,
                      std::uint64_t low, const std::string& help) {
  return add_converted(app, names, "SIZE", help, [&value, low](const std::string& text) {
    const std::optional<std::uint64_t> bytes = parse_size(text);
    if (!bytes) return fmt::format("expected a size such as 512M or 4GiB, got '{}'", text);
    if (*bytes < low) return fmt::format("must be at least {}M, got '{}'", low >> 20U, text);
    value = *bytes;
    return std::string();
  });
}

CLI::Option* add_switch(CLI::App* app, const std::string& names, bool& value,
                        const std::string& help) {
  return app->add_flag(names, value, help)->multi_option_policy(CLI::MultiOptionPolicy::TakeLast);
}

std::optional<std::uint64_t> parse_size(std::string_view text) {
  std::uint64_t number = 0;
  const char* end = text.data() + text.size();
  const auto [stop, problem] = std::from_chars(text.data(), end, number);
  if (problem != std::errc()) return std::nullopt;
  const std::optional<std::uint64_t> unit = unit_bytes(std::string(stop, end));
  if (!unit || number > std::numeric_limits<std::uint64_t>::max() / *unit) return std::nullopt;
  return number * *unit;
}

std::string nearest(std::string_view word, const std::vector<std::string>& candidates) {
  std::string best;
  std::size_t best_distance = std::max<std::size_t>(2, word.size() / 3) + 1;
  for (const std::string& candidate : candidates) {
    // What was typed may be the start of the real name, as argparse allows: "--quant", "arch".
    const bool is_start = word.size() >= 4 && candidate.starts_with(word);
    const std::size_t distance = is_start ? 1 : edit_distance(word, candidate);
    // "-x" is one edit away from every short flag: that says nothing.
    if (distance < best_distance && distance < candidate.size() - 1) {
      best = candidate;
      best_distance = distance;
    }
  }
  return best;
}

std::vector<std::string> option_spellings(const CLI::App& app) {
  std::vector<std::string> spellings;
  for (const CLI::Option* option : app.get_options()) {
    for (const std::string& name : option->get_snames()) spellings.push_back("-" + name);
    for (const std::string& name : option->get_lnames()) spellings.push_back("--" + name);
  }
  return spellings;
}

Status check_leftovers(const CLI::App& app) {
  const std::vector<std::string> words = app.remaining();
  if (words.empty()) return {};
  const auto flag = std::find_if(words.begin(), words.end(), [](const std::string& word) {
    return word.size() > 1 && word[0] == '-' && word != "--";
  });
  // A flag first: the words after an unknown one are probably its value.
  const std::string word = flag == words.end() ? words.front() : *flag;
  const std::string name = word.substr(0, word.find('='));
  if (flag != words.end()) {
    Error error(Code::kUsage, fmt::format("{}: unknown flag {}", app.get_name(), name));
    const std::string guess = nearest(name, option_spellings(app));
    if (!guess.empty()) return error.hint("did you mean " + guess + "?");
    return error.hint(help_hint(app));
  }
  return Error(Code::kUsage, fmt::format("{}: unexpected argument '{}'", app.get_name(), word))
      .hint(help_hint(app));
}

Error missing_argument(const CLI::App& app, std::string_view argument) {
  return Error(Code::kUsage, fmt::format("{}: {} is missing", app.get_name(), argument))
      .hint(help_hint(app));
}

std::string without_trailing_slash(std::string text) {
  while (text.size() > 1 && text.back() == '/') text.pop_back();
  return text;
}

}  // namespace mlxmill::cli
