// Patterns over module paths: globs and regular expressions.
#pragma once

#include <array>
#include <bitset>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "mlxmill/result.h"

namespace mlxmill::quantize {

/// A pattern that a whole module path ("model.layers.0.mlp.gate") must match.
///
/// Glob: `*` is any run within one part (between dots), `**` any run across parts, `?` one
/// character of a part, `[0-9a]` and `[!x]` a set, `{a,b}` alternatives. `**.` at the start of a
/// part may also be nothing, and so may `.**` at the end. Regex: `.`, sets, `\d` `\w`, groups,
/// `|`, `*`, `+`, `?`, `{m,n}`; no references, no anchors (the whole path matches anyway).
///
/// Cost: O(states * path length) per match, whatever the path; at most kMaxStates states.
/// Threads: immutable.
class PathPattern {
 public:
  static constexpr std::size_t kMaxStates = 4096;

  /// Errors: kInvalidInput saying what is wrong (the caller adds file and line).
  static Result<PathPattern> glob(std::string_view text);
  static Result<PathPattern> regex(std::string_view text);

  bool matches(std::string_view path) const;
  const std::string& text() const { return text_; }
  bool is_regex() const { return is_regex_; }

 private:
  friend class PatternCompiler;
  enum class Op : std::uint8_t { kSet, kSplit, kJump, kMatch };
  struct State {
    Op op = Op::kMatch;
    std::uint32_t a = 0;  ///< kSet: into sets_; kSplit, kJump: a state.
    std::uint32_t b = 0;  ///< kSplit: the other one.
  };

  std::string text_;
  bool is_regex_ = false;
  std::vector<State> states_;
  std::vector<std::bitset<256>> sets_;
};

}  // namespace mlxmill::quantize
