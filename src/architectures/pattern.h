// Patterns over tensor names, and the templates that build new names from what they captured.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/value.h"
#include "mlxmill/result.h"

namespace mlxmill::architectures {

/// What a pattern's braces matched: the text, and the number for `{name#}`.
struct Capture {
  std::string name;
  std::string text;
  std::optional<std::int64_t> number;
};
using Captures = std::vector<Capture>;

/// A tensor name with gaps. `{name}` matches one or more characters without a dot, `{name#}` a
/// whole run of digits that spells a number (no leading zero, at most 18 digits), `{name*}`
/// anything, also nothing,
/// `{name=a|b}` one of the alternatives; without a name nothing is captured. The whole name must
/// match; where several ways exist, earlier gaps take as much as they can. Cost: O(elements * name
/// length) per match, whatever the name. Threads: immutable.
class Pattern {
 public:
  /// Errors: kInvalidInput saying what is wrong with the pattern (the caller adds file and line).
  static Result<Pattern> parse(std::string_view text);

  std::optional<Captures> match(std::string_view name) const;

  const std::string& text() const { return text_; }
  bool captures(std::string_view name) const;
  /// Names of the `{name#}` gaps.
  std::vector<std::string> numbers() const;

 private:
  enum class Kind : std::uint8_t { kLiteral, kComponent, kDigits, kAny, kAlternatives };
  struct Element {
    Kind kind;
    std::string name;                // of a gap; empty: anonymous
    std::vector<std::string> words;  // the literal, or the alternatives
  };

  static Result<Element> parse_gap(std::string_view gap);
  bool literals_occur(std::string_view name) const;
  template <typename Visit>
  static bool for_each_end(const Element& element, std::string_view name, std::size_t begin,
                           Visit visit);

  std::string text_;
  std::vector<Element> elements_;
};

/// A name with `{capture}` gaps, and `{#}` for the number of a part.
class Template {
 public:
  static Result<Template> parse(std::string_view text);

  /// Requires every gap to be captured (see `missing_in`).
  std::string expand(const Captures& captures, std::optional<std::size_t> part = {}) const;

  /// The first gap the pattern does not capture.
  std::optional<std::string> missing_in(const Pattern& pattern) const;
  bool has_part_number() const;
  bool uses(std::string_view capture) const;
  const std::string& text() const { return text_; }

 private:
  struct Element {
    bool gap;
    std::string text;
  };
  std::string text_;
  std::vector<Element> elements_;
};

/// True for [A-Za-z_][A-Za-z0-9_]*.
bool is_identifier(std::string_view text);

}  // namespace mlxmill::architectures
