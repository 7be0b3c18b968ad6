#include "formats/yaml_check.h"

#include <algorithm>
#include <string>
#include <vector>

#include "formats/unicode.h"

namespace mlxmill::formats {
namespace {

constexpr std::size_t kNotFound = std::string_view::npos;
constexpr int kMaxYamlDepth = 8;

struct Line {
  std::size_t indent = 0;
  std::string_view text;  // Without indent and trailing spaces; empty for a blank line.
};

std::string_view trim_right(std::string_view text) {
  return text.substr(0, text.find_last_not_of(' ') + 1);
}

// Where a quoted scalar that begins at `start` ends (its last quote); kNotFound when it does not.
std::size_t closing_quote(std::string_view text, std::size_t start) {
  const char quote = text[start];
  for (std::size_t i = start + 1; i < text.size(); ++i) {
    if (quote == '"' && text[i] == '\\') {
      // Of YAML's escapes those that every reader knows.
      if (i + 1 >= text.size() || std::string_view("\"\\/nrt").find(text[i + 1]) == kNotFound)
        return kNotFound;
      ++i;
    } else if (text[i] == quote) {
      if (quote == '"' || i + 1 >= text.size() || text[i + 1] != '\'') return i;
      ++i;
    }
  }
  return kNotFound;
}

// Nothing or a comment.
bool is_rest(std::string_view text) {
  const std::size_t first = text.find_first_not_of(' ');
  return first == kNotFound || (first > 0 && text[first] == '#');
}

// "[a, 'b']" on one line.
bool is_flow_list(std::string_view text) {
  std::size_t pos = 1;
  const auto skip = [&] { pos = std::min(text.find_first_not_of(' ', pos), text.size()); };
  for (bool first = true;; first = false) {
    skip();
    if (pos == text.size()) return false;
    if (text[pos] == ']') return is_rest(text.substr(pos + 1));
    if (!first || text[pos] == ',') {
      if (first || text[pos] != ',') return false;
      ++pos;
      skip();
      if (pos == text.size()) return false;
      if (text[pos] == ']') return is_rest(text.substr(pos + 1));
    }
    if (text[pos] == '"' || text[pos] == '\'') {
      pos = closing_quote(text, pos);
      if (pos == kNotFound) return false;
      ++pos;
      continue;
    }
    const std::size_t end = text.find_first_of(",]", pos);
    if (end == kNotFound || !is_plain_yaml_scalar(trim_right(text.substr(pos, end - pos)), true))
      return false;
    pos = end;
  }
}

bool is_scalar_or_list(std::string_view text) {
  if (text[0] == '"' || text[0] == '\'') {
    const std::size_t end = closing_quote(text, 0);
    return end != kNotFound && is_rest(text.substr(end + 1));
  }
  if (text[0] == '[') return is_flow_list(text);
  return is_plain_yaml_scalar(trim_right(text.substr(0, text.find(" #"))), false);
}

// Where the ':' behind a key is; kNotFound when the line has no key.
std::size_t key_end(std::string_view text) {
  std::size_t colon = 0;
  if (text[0] == '"' || text[0] == '\'') {
    const std::size_t end = closing_quote(text, 0);
    if (end == kNotFound || end + 1 >= text.size() || text[end + 1] != ':') return kNotFound;
    colon = end + 1;
  } else {
    colon = text.find(": ");
    if (colon == kNotFound && text.ends_with(':')) colon = text.size() - 1;
    if (colon == kNotFound || !is_plain_yaml_scalar(text.substr(0, colon), false)) return kNotFound;
    // "a #b: c" is a comment behind a scalar.
    if (text.substr(0, colon).find(" #") != kNotFound) return kNotFound;
  }
  return colon;
}

class Checker {
 public:
  explicit Checker(std::string_view text) {
    while (!text.empty()) {
      const std::size_t newline = std::min(text.find('\n'), text.size());
      const std::string_view line = trim_right(text.substr(0, newline));
      text.remove_prefix(std::min(newline + 1, text.size()));
      const std::size_t indent = std::min(line.find_first_not_of(' '), line.size());
      lines_.push_back({indent, line.substr(indent)});
    }
  }

  bool check() { return !lines_.empty() && map(0, 0) && at_ == lines_.size(); }

 private:
  // Moves to the next line that says something.
  bool next() {
    while (at_ < lines_.size() && (lines_[at_].text.empty() || lines_[at_].text[0] == '#')) ++at_;
    return at_ < lines_.size();
  }

  bool is_item() const { return lines_[at_].text == "-" || lines_[at_].text.starts_with("- "); }

  bool map(std::size_t indent, int depth) {
    std::vector<std::string_view> keys;
    while (next() && lines_[at_].indent == indent && !is_item()) {
      const std::string_view text = lines_[at_].text;
      const std::size_t colon = key_end(text);
      if (colon == kNotFound) return false;
      keys.push_back(text.substr(0, colon));
      ++at_;
      if (!value(text.substr(colon + 1), indent, indent, depth)) return false;
    }
    // Not an error in PyYAML, but in the Hub's reader.
    std::sort(keys.begin(), keys.end());
    return std::adjacent_find(keys.begin(), keys.end()) == keys.end();
  }

  bool list(std::size_t indent, int depth) {
    while (next() && lines_[at_].indent == indent && is_item()) {
      Line& line = lines_[at_];
      const std::size_t first = line.text.find_first_not_of(' ', 1);
      const std::string_view item =
          first == kNotFound ? std::string_view{} : line.text.substr(first);
      if (!item.empty() && item[0] != '#' && key_end(item) != kNotFound) {
        // "- key: value" opens a map whose keys stand where this one does.
        line = {indent + first, item};
        if (depth >= kMaxYamlDepth || !map(indent + first, depth + 1)) return false;
        continue;
      }
      ++at_;
      if (!value(item, indent, indent + 1, depth)) return false;
    }
    return true;
  }

  // What stands behind a key or dash at `indent`; a list below a key may stand at `list_indent`.
  bool value(std::string_view text, std::size_t indent, std::size_t list_indent, int depth) {
    const std::size_t first = text.find_first_not_of(' ');
    if (first == kNotFound || text[first] == '#') return nested(indent, list_indent, depth);
    text.remove_prefix(first);
    if (text[0] == '|' || text[0] == '>') return block_scalar(text.substr(1), indent);
    std::string joined(text);
    const std::size_t begin = at_;
    const bool list = text[0] == '[';
    // A scalar goes on over deeper lines; a flow list over any, as PyYAML has it.
    while (at_ < lines_.size() && (list ? !is_flow_list(joined) : continues(indent))) {
      if (list && (joined.find(" #") != kNotFound || joined.size() > 10'000)) return false;
      if (!lines_[at_].text.empty()) joined.append(" ").append(lines_[at_].text);
      ++at_;
    }
    // A comment would end a plain scalar in the middle.
    const bool quoted = text[0] == '"' || text[0] == '\'';
    if (!quoted && at_ > begin && joined.find(" #") != kNotFound) return false;
    return is_scalar_or_list(joined);
  }

  bool continues(std::size_t indent) const {
    return lines_[at_].text.empty() || lines_[at_].indent > indent;
  }

  bool nested(std::size_t indent, std::size_t list_indent, int depth) {
    if (!next()) return true;
    const std::size_t inner = lines_[at_].indent;
    const bool is_list = is_item() && inner >= list_indent;
    if (!is_list && inner <= indent) return true;
    if (depth >= kMaxYamlDepth || !(is_list ? list(inner, depth + 1) : map(inner, depth + 1)))
      return false;
    // What comes next belongs to a level that is already open, not to one between two.
    return !next() || lines_[at_].indent <= indent;
  }

  bool block_scalar(std::string_view header, std::size_t indent) {
    if (header.starts_with('-') || header.starts_with('+')) header.remove_prefix(1);
    if (!header.empty()) return false;
    std::size_t inner = 0;
    for (; at_ < lines_.size() && continues(indent); ++at_) {
      if (lines_[at_].text.empty()) continue;
      if (inner == 0) inner = lines_[at_].indent;
      if (lines_[at_].indent < inner) return false;
    }
    return true;
  }

  std::vector<Line> lines_;
  std::size_t at_ = 0;
};

bool is_text(std::string_view text) {
  for (std::size_t pos = 0; pos < text.size();) {
    const auto c = next_code_point(text, pos, false);
    const bool line_end = c && (*c == 0x85 || *c == 0x2028 || *c == 0x2029 || *c == 0xFEFF);
    if (!c || line_end || (*c < 0x20 && *c != '\n') || (*c >= 0x7F && *c < 0xA0) || *c == 0xFFFE ||
        *c == 0xFFFF) {
      return false;
    }
  }
  return true;
}

}  // namespace

bool is_plain_yaml_scalar(std::string_view text, bool in_flow) {
  if (text.empty()) return false;
  constexpr std::string_view kIndicators = "[]{},#&*!|>'\"%@`=<";
  if (kIndicators.find(text[0]) != kNotFound) return false;
  if (std::string_view("-?:").find(text[0]) != kNotFound && (text.size() == 1 || text[1] == ' '))
    return false;
  if (text.find(": ") != kNotFound || text.ends_with(':') || text.find(" #") != kNotFound)
    return false;
  return !in_flow || (text[0] != '-' && text.find_first_of("[]{},:?") == kNotFound);
}

bool is_simple_yaml_entry(std::string_view text) { return is_text(text) && Checker(text).check(); }

}  // namespace mlxmill::formats
