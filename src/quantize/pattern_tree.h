// The syntax tree between the two spellings of a path pattern and its automaton.
#pragma once

#include <bitset>
#include <cstdint>
#include <string_view>
#include <vector>

#include "mlxmill/result.h"

namespace mlxmill::quantize {

using CharacterSet = std::bitset<256>;

struct PatternNode {
  enum class Kind : std::uint8_t { kSet, kSequence, kAlternatives, kRepeat };
  static constexpr int kUnbounded = -1;

  Kind kind = Kind::kSequence;
  CharacterSet set;
  std::vector<PatternNode> children;  ///< kRepeat: one.
  int least = 0;                      ///< kRepeat.
  int most = kUnbounded;
};

PatternNode set_node(CharacterSet set);
PatternNode sequence_node(std::vector<PatternNode> children);
PatternNode repeat_node(PatternNode child, int least, int most);
CharacterSet one_character(char c);
CharacterSet all_but(char c);

/// Reads the inside of a set from `at`, just behind its bracket, to its end, which is taken.
/// `negation` is '!' or '^'. Errors: kInvalidInput.
Result<CharacterSet> parse_set(std::string_view text, std::size_t& at, char negation);

/// Errors: kInvalidInput saying what is wrong. Nesting is limited, so recursion is.
Result<PatternNode> parse_glob(std::string_view text);
Result<PatternNode> parse_regex(std::string_view text);

}  // namespace mlxmill::quantize
