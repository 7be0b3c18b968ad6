#include "architectures/pattern.h"

#include <fmt/format.h>

#include <algorithm>

#include "architectures/language.h"
#include "base/ascii.h"

namespace mlxmill::architectures {
namespace {

constexpr std::size_t kMaxElements = 32;
constexpr std::size_t kMaxPatternBytes = 512;
// 10^18 - 1 still fits a signed 64-bit integer.
constexpr std::size_t kMaxDigits = 18;

Error bad(std::string what) { return Error(Code::kInvalidInput, std::move(what)); }

/// Splits "a{b}c" into literal and gap texts; errors on unbalanced braces.
Result<std::vector<std::pair<bool, std::string>>> split_braces(std::string_view text) {
  if (text.size() > kMaxPatternBytes) {
    return bad(
        fmt::format("pattern {} is longer than {} characters", quoted(text), kMaxPatternBytes));
  }
  std::vector<std::pair<bool, std::string>> parts;
  std::size_t at = 0;
  while (at < text.size()) {
    const std::size_t open = text.find_first_of("{}", at);
    if (open != at) parts.emplace_back(false, std::string(text.substr(at, open - at)));
    if (open == std::string_view::npos) break;
    const std::size_t close = text[open] == '{' ? text.find_first_of("{}", open + 1) : open;
    if (text[open] == '}' || close == std::string_view::npos || text[close] == '{') {
      return bad(fmt::format("pattern {} has a brace without its partner", quoted(text)));
    }
    parts.emplace_back(true, std::string(text.substr(open + 1, close - open - 1)));
    at = close + 1;
  }
  if (parts.size() > kMaxElements) {
    return bad(fmt::format("pattern {} has more than {} parts", quoted(text), kMaxElements));
  }
  return parts;
}

}  // namespace

bool is_identifier(std::string_view text) {
  const auto letter = [](char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_';
  };
  return !text.empty() && letter(text[0]) && std::all_of(text.begin(), text.end(), [&](char c) {
    return letter(c) || base::is_digit(c);
  });
}

Result<Pattern::Element> Pattern::parse_gap(std::string_view gap) {
  Element element{Kind::kComponent, "", {}};
  std::string_view name = gap;
  if (const std::size_t equals = gap.find('='); equals != std::string_view::npos) {
    element.kind = Kind::kAlternatives;
    name = gap.substr(0, equals);
    std::string_view rest = gap.substr(equals + 1);
    while (true) {
      const std::size_t bar = rest.find('|');
      element.words.emplace_back(rest.substr(0, bar));
      if (element.words.back().empty()) return bad(fmt::format("{{{}}} has an empty word", gap));
      if (bar == std::string_view::npos) break;
      rest.remove_prefix(bar + 1);
    }
  } else if (!gap.empty() && (gap.back() == '#' || gap.back() == '*')) {
    element.kind = gap.back() == '#' ? Kind::kDigits : Kind::kAny;
    name.remove_suffix(1);
  }
  if (!name.empty() && !is_identifier(name)) {
    return bad(
        fmt::format("{{{}}} does not start with a name; expected {{name}}, {{name#}}, "
                    "{{name*}} or {{name=a|b}}",
                    gap));
  }
  element.name = name;
  return element;
}

Result<Pattern> Pattern::parse(std::string_view text) {
  Pattern pattern;
  pattern.text_ = text;
  MLXMILL_ASSIGN(const auto parts, split_braces(text));
  for (const auto& [is_gap, part] : parts) {
    if (!is_gap) {
      pattern.elements_.push_back({Kind::kLiteral, "", {part}});
      continue;
    }
    MLXMILL_ASSIGN(Element element, parse_gap(part));
    if (!element.name.empty() && pattern.captures(element.name)) {
      return bad(fmt::format("pattern {} names \"{}\" twice", quoted(text), element.name));
    }
    pattern.elements_.push_back(std::move(element));
  }
  if (pattern.elements_.empty()) return bad("an empty pattern matches nothing");
  return pattern;
}

bool Pattern::captures(std::string_view name) const {
  return std::any_of(elements_.begin(), elements_.end(),
                     [&](const Element& element) { return element.name == name; });
}

std::vector<std::string> Pattern::numbers() const {
  std::vector<std::string> result;
  for (const Element& element : elements_) {
    if (element.kind == Kind::kDigits && !element.name.empty()) result.push_back(element.name);
  }
  return result;
}

/// Visits the ends an element can have from `begin`, longest first, until a visit returns true.
template <typename Visit>
bool Pattern::for_each_end(const Element& element, std::string_view name, std::size_t begin,
                           Visit visit) {
  switch (element.kind) {
    case Kind::kLiteral:
    case Kind::kAlternatives:
      for (const std::string& word : element.words) {
        if (name.substr(begin).starts_with(word) && visit(begin + word.size())) return true;
      }
      return false;
    case Kind::kDigits: {
      // A whole run: `1` of `12` is no number of the name.
      if (begin > 0 && base::is_digit(name[begin - 1])) return false;
      std::size_t end = begin;
      while (end < name.size() && base::is_digit(name[end])) ++end;
      const std::size_t length = end - begin;
      if (length == 0 || length > kMaxDigits || (length > 1 && name[begin] == '0')) return false;
      return visit(end);
    }
    case Kind::kComponent:
    case Kind::kAny: {
      const std::size_t dot = element.kind == Kind::kAny ? name.npos : name.find('.', begin);
      std::size_t end = std::min(dot, name.size());
      const std::size_t shortest = begin + (element.kind == Kind::kComponent);
      for (; end >= shortest; --end) {
        if (visit(end)) return true;
        if (end == 0) break;
      }
      return false;
    }
  }
  return false;
}

/// A cheap refusal of most names: the ends must fit and the literals occur in order.
bool Pattern::literals_occur(std::string_view name) const {
  std::size_t at = 0;
  for (std::size_t i = 0; i < elements_.size(); ++i) {
    if (elements_[i].kind != Kind::kLiteral) continue;
    const std::string& word = elements_[i].words[0];
    if (i + 1 == elements_.size() && !name.ends_with(word)) return false;
    if (i == 0 && !name.starts_with(word)) return false;
    at = name.find(word, at);
    if (at == std::string_view::npos) return false;
    at += word.size();
  }
  return true;
}

std::optional<Captures> Pattern::match(std::string_view name) const {
  if (!literals_occur(name)) return std::nullopt;
  const std::size_t columns = name.size() + 1;
  const std::size_t n_elements = elements_.size();
  // fits[e][p]: elements e.. match name[p..]. Filled from the end, so no path is walked twice; a
  // gap over many ends is answered from its neighbour instead of a scan.
  std::vector<char> fits((n_elements + 1) * columns, 0);
  fits[n_elements * columns + name.size()] = 1;
  for (std::size_t e = n_elements; e-- > 0;) {
    const Element& element = elements_[e];
    const char* next = &fits[(e + 1) * columns];
    char* row = &fits[e * columns];
    for (std::size_t p = columns; p-- > 0;) {
      if (element.kind == Kind::kAny) {
        row[p] = next[p] || (p < name.size() && row[p + 1]);
      } else if (element.kind == Kind::kComponent) {
        row[p] = p < name.size() && name[p] != '.' && (next[p + 1] || row[p + 1]);
      } else {
        row[p] = for_each_end(element, name, p, [&](std::size_t end) { return next[end] != 0; });
      }
    }
  }
  if (!fits[0]) return std::nullopt;
  Captures captures;
  std::size_t begin = 0;
  for (std::size_t e = 0; e < n_elements; ++e) {
    std::size_t end = begin;
    for_each_end(elements_[e], name, begin, [&](std::size_t candidate) {
      end = candidate;
      return fits[(e + 1) * columns + candidate] != 0;
    });
    if (!elements_[e].name.empty()) {
      Capture capture{elements_[e].name, std::string(name.substr(begin, end - begin)), {}};
      if (elements_[e].kind == Kind::kDigits) capture.number = std::stoll(capture.text);
      captures.push_back(std::move(capture));
    }
    begin = end;
  }
  return captures;
}

Result<Template> Template::parse(std::string_view text) {
  Template result;
  result.text_ = text;
  MLXMILL_ASSIGN(const auto parts, split_braces(text));
  for (const auto& [is_gap, part] : parts) {
    if (is_gap && part != "#" && !is_identifier(part)) {
      return bad(fmt::format("{{{}}} is no captured name; expected {{name}}", part));
    }
    result.elements_.push_back({is_gap, part});
  }
  if (result.elements_.empty()) return bad("a tensor needs a name");
  return result;
}

std::string Template::expand(const Captures& captures, std::optional<std::size_t> part) const {
  std::string result;
  for (const Element& element : elements_) {
    if (!element.gap) {
      result += element.text;
    } else if (element.text == "#") {
      result += part ? std::to_string(*part) : "";
    } else {
      for (const Capture& capture : captures) {
        if (capture.name == element.text) result += capture.text;
      }
    }
  }
  return result;
}

std::optional<std::string> Template::missing_in(const Pattern& pattern) const {
  for (const Element& element : elements_) {
    if (element.gap && element.text != "#" && !pattern.captures(element.text)) return element.text;
  }
  return std::nullopt;
}

bool Template::uses(std::string_view capture) const {
  return std::any_of(elements_.begin(), elements_.end(), [&](const Element& element) {
    return element.gap && element.text == capture;
  });
}

bool Template::has_part_number() const { return uses("#"); }

}  // namespace mlxmill::architectures
