#include "formats/front_matter.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <set>

#include "base/ascii.h"
#include "formats/unicode.h"
#include "formats/yaml_check.h"

namespace mlxmill::formats {
namespace {

constexpr std::size_t kMaxCardBytes = std::size_t{1} << 20;
constexpr std::size_t kNone = std::string_view::npos;

std::string_view trim(std::string_view text) {
  const std::size_t first = text.find_first_not_of(" \t\r\n");
  if (first == kNone) return {};
  return text.substr(first, text.find_last_not_of(" \t\r\n") - first + 1);
}

// Takes the next line, without its end, off `rest`.
std::string_view take_line(std::string_view& rest) {
  const std::size_t newline = rest.find('\n');
  std::string_view line = rest.substr(0, newline);
  rest = newline == kNone ? std::string_view{} : rest.substr(newline + 1);
  if (line.ends_with('\r')) line.remove_suffix(1);
  return line;
}

bool is_fence(std::string_view line) {
  return line.starts_with("---") && trim(line.substr(3)).empty();
}

bool is_key_character(char c) {
  return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_' ||
         c == '-' || c == '.';
}

// The key of a line "key: value" or "key:"; empty when it is no such line.
std::string_view key_of(std::string_view line) {
  std::size_t end = 0;
  while (end < line.size() && is_key_character(line[end])) ++end;
  if (end == 0 || line[0] == '-' || end == line.size() || line[end] != ':') return {};
  if (end + 1 < line.size() && line[end + 1] != ' ') return {};
  return line.substr(0, end);
}

// A line of text in the state of being read: how deep in brackets, inside which quote.
struct Nesting {
  int brackets = 0;
  char quote = '\0';

  bool open() const { return brackets > 0 || quote != '\0'; }

  // Follows flow text. Quotes count only where a scalar can begin: the apostrophe in "it's" is a
  // letter.
  void follow(std::string_view text) {
    bool at_start = true;
    for (std::size_t i = 0; i < text.size(); ++i) {
      const char c = text[i];
      if (quote == '"' && c == '\\') {
        ++i;
      } else if (quote != '\0') {
        if (c == quote) quote = '\0';
        at_start = false;
      } else if (c == '#' && (i == 0 || text[i - 1] == ' ')) {
        return;
      } else if ((c == '"' || c == '\'') && at_start) {
        quote = c;
      } else if ((c == '[' || c == '{') && (at_start || brackets > 0)) {
        ++brackets;
        at_start = true;
      } else if ((c == ']' || c == '}') && brackets > 0) {
        --brackets;
      } else if (c != ' ') {
        at_start = brackets > 0 && (c == ',' || c == ':');
      }
    }
  }
};

bool is_block_scalar(std::string_view value) {
  return value.starts_with('|') || value.starts_with('>');
}

// The text between the fences; empty when there is none.
std::optional<std::string_view> front_matter_of(std::string_view card) {
  if (card.starts_with("\xEF\xBB\xBF")) card.remove_prefix(3);
  const std::size_t start = card.find_first_not_of(" \t\r\n");
  if (start == kNone) return std::nullopt;
  std::string_view rest = card.substr(start, kMaxCardBytes);
  if (!is_fence(take_line(rest))) return std::nullopt;
  const std::string_view text = rest;
  while (!rest.empty()) {
    const std::size_t before = text.size() - rest.size();
    // A line in the middle of which the limit falls is no fence.
    const bool whole =
        rest.find('\n') != kNone || rest.data() + rest.size() == card.data() + card.size();
    if (is_fence(take_line(rest)) && whole) return text.substr(0, before);
  }
  return std::nullopt;
}

std::string unquoted(std::string_view text) {
  text = trim(text);
  if (text.size() < 2 || text.front() != text.back() || (text[0] != '"' && text[0] != '\'')) {
    return std::string(text);
  }
  const bool escapes = text[0] == '"';
  text = text.substr(1, text.size() - 2);
  std::string plain;
  for (std::size_t i = 0; i < text.size(); ++i) {
    if (escapes && text[i] == '\\' && i + 1 < text.size()) {
      ++i;
      plain += text[i] == 'n' ? '\n' : text[i] == 't' ? '\t' : text[i];
    } else {
      plain += text[i];
      if (!escapes && text[i] == '\'' && i + 1 < text.size() && text[i + 1] == '\'') ++i;
    }
  }
  return plain;
}

// Cuts " # ..." off a value.
std::string_view without_comment(std::string_view value) {
  value = trim(value);
  char quote = '\0';
  for (std::size_t i = 0; i < value.size(); ++i) {
    const char c = value[i];
    if (quote == '"' && c == '\\') {
      ++i;
    } else if (quote != '\0') {
      if (c == quote) quote = '\0';
    } else if (i == 0 && (c == '"' || c == '\'')) {
      quote = c;
    } else if (c == '#' && (i == 0 || value[i - 1] == ' ')) {
      return trim(value.substr(0, i));
    }
  }
  return value;
}

std::vector<std::string> flow_items(std::string_view text) {
  std::vector<std::string> items;
  std::string_view inside = text.substr(text.find('[') + 1);
  std::size_t start = 0;
  Nesting nesting;
  for (std::size_t i = 0; i <= inside.size(); ++i) {
    const bool end = i == inside.size() || (!nesting.open() && inside[i] == ']');
    if (end || (!nesting.open() && inside[i] == ',')) {
      const std::string_view item = trim(inside.substr(start, i - start));
      if (!item.empty()) items.push_back(unquoted(item));
      if (end) break;
      start = i + 1;
      continue;
    }
    const char c = inside[i];
    if (nesting.quote == '"' && c == '\\') {
      ++i;
    } else if (nesting.quote != '\0') {
      if (c == nesting.quote) nesting.quote = '\0';
    } else if ((c == '"' || c == '\'') && trim(inside.substr(start, i - start)).empty()) {
      nesting.quote = c;
    }
  }
  return items;
}

}  // namespace

std::vector<FrontMatterBlock> parse_front_matter(std::string_view card) {
  std::vector<FrontMatterBlock> blocks;
  const auto text = front_matter_of(card);
  if (!text) return blocks;
  std::set<std::string, std::less<>> seen;
  std::string_view rest = *text;
  Nesting nesting;
  bool keep = false;  // Whether the block being read is one that began with a proper key.
  while (!rest.empty()) {
    const std::string_view line = take_line(rest);
    const bool continues = nesting.open() || line.empty() || line[0] == ' ' || line[0] == '\t' ||
                           line.starts_with("- ") || line == "-";
    if (continues) {
      if (keep) blocks.back().text.append(line).append("\n");
      if (nesting.open()) nesting.follow(line);
      continue;
    }
    if (line[0] == '#') continue;
    const std::string_view key = key_of(line);
    // A key like `no` is false to YAML.
    keep = !key.empty() && yaml_string(key) == key && !seen.contains(key);
    nesting = {};
    if (!keep) continue;
    seen.emplace(key);
    blocks.push_back({std::string(key), std::string(line) + "\n"});
    const std::string_view value = trim(line.substr(key.size() + 1));
    if (!is_block_scalar(value)) nesting.follow(value);
  }
  std::erase_if(blocks,
                [](const FrontMatterBlock& block) { return !is_simple_yaml_entry(block.text); });
  return blocks;
}

std::vector<std::string> list_items(const FrontMatterBlock& block) {
  const std::string_view value = trim(std::string_view(block.text).substr(block.key.size() + 1));
  if (value.starts_with('[')) return flow_items(value);
  std::vector<std::string> items;
  std::string_view rest = block.text;
  const std::string_view first = without_comment(take_line(rest).substr(block.key.size() + 1));
  if (!first.empty() && first != "null" && first != "~") return {unquoted(first)};
  while (!rest.empty()) {
    std::string_view line = trim(take_line(rest));
    if (!line.starts_with("- ")) continue;
    const std::string_view item = without_comment(line.substr(2));
    if (!item.empty()) items.push_back(unquoted(item));
  }
  return items;
}

std::optional<std::string> scalar_of(const FrontMatterBlock& block) {
  std::string_view rest = block.text;
  const std::string_view value = without_comment(take_line(rest).substr(block.key.size() + 1));
  const bool only_line = trim(rest).empty() || trim(rest).starts_with('#');
  if (value.empty() || !only_line || is_block_scalar(value) || value[0] == '[' || value[0] == '{') {
    return std::nullopt;
  }
  return unquoted(value);
}

std::string yaml_string(std::string_view text) {
  // What YAML 1.1 would read as something else than a string.
  static constexpr std::array<std::string_view, 10> kWords = {"y",     "n",  "yes", "no",   "true",
                                                              "false", "on", "off", "null", "nan"};
  const std::string lower = base::lower_ascii(text);
  const bool letter = !lower.empty() && lower[0] >= 'a' && lower[0] <= 'z';
  const bool plain = letter && std::find(kWords.begin(), kWords.end(), lower) == kWords.end() &&
                     std::all_of(text.begin(), text.end(), [](char c) {
                       return is_key_character(c) || c == '/' || c == '+';
                     });
  if (plain) return std::string(text);
  std::string quoted = "\"";
  for (std::size_t pos = 0; pos < text.size();) {
    const std::size_t before = pos;
    const auto code_point = next_code_point(text, pos, false);
    if (!code_point) {
      quoted += "\\uFFFD";
      ++pos;
    } else if (*code_point == '"' || *code_point == '\\') {
      quoted += fmt::format("\\{}", static_cast<char>(*code_point));
    } else if (*code_point < 0x20 || (*code_point >= 0x7F && *code_point < 0xA0)) {
      quoted += fmt::format("\\x{:02X}", *code_point);
    } else {
      quoted += text.substr(before, pos - before);
    }
  }
  return quoted + '"';
}

}  // namespace mlxmill::formats
