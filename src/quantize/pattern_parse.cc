// Path patterns: text to tree.
#include <fmt/format.h>

#include <charconv>

#include "language/document.h"
#include "quantize/pattern_tree.h"

namespace mlxmill::quantize {
namespace {

using Kind = PatternNode::Kind;

constexpr int kMaxDepth = 16;
constexpr int kMaxRepeat = 64;

Error bad(std::string what) { return Error(Code::kInvalidInput, std::move(what)); }

PatternNode alternatives_node(std::vector<PatternNode> children) {
  if (children.size() == 1) return std::move(children[0]);
  PatternNode node;
  node.kind = Kind::kAlternatives;
  node.children = std::move(children);
  return node;
}

class GlobParser {
 public:
  explicit GlobParser(std::string_view text) : text_(text) {}

  Result<PatternNode> parse() {
    MLXMILL_ASSIGN(PatternNode node, sequence(0));
    if (at_ != text_.size()) return bad(fmt::format("'{}' without its partner", text_[at_]));
    return node;
  }

 private:
  bool comes(std::string_view word) const { return text_.substr(at_).starts_with(word); }

  /// Up to the end, or the comma or brace that ends an alternative.
  Result<PatternNode> sequence(int depth) {
    std::vector<PatternNode> items;
    while (at_ < text_.size() && text_[at_] != '}' && !(depth > 0 && text_[at_] == ',')) {
      MLXMILL_ASSIGN(PatternNode node, item(depth));
      items.push_back(std::move(node));
    }
    return sequence_node(std::move(items));
  }

  Result<PatternNode> item(int depth) {
    const char c = text_[at_];
    const bool starts_part = at_ == 0 || text_[at_ - 1] == '.' ||
                             (depth > 0 && (text_[at_ - 1] == '{' || text_[at_ - 1] == ','));
    const PatternNode anything = repeat_node(set_node(CharacterSet().set()), 0, -1);
    if (starts_part && comes("**.")) {
      at_ += 3;
      return repeat_node(sequence_node({anything, set_node(one_character('.'))}), 0, 1);
    }
    if (comes(".**") && at_ + 3 == text_.size()) {
      at_ += 3;
      return repeat_node(sequence_node({set_node(one_character('.')), anything}), 0, 1);
    }
    if (comes("**")) {
      at_ += 2;
      return anything;
    }
    ++at_;
    switch (c) {
      case '*':
        return repeat_node(set_node(all_but('.')), 0, -1);
      case '?':
        return set_node(all_but('.'));
      case '{':
        return alternatives(depth);
      case '[': {
        MLXMILL_ASSIGN(const CharacterSet set, parse_set(text_, at_, '!'));
        return set_node(set);
      }
      default:
        return set_node(one_character(c));
    }
  }

  Result<PatternNode> alternatives(int depth) {
    if (depth >= kMaxDepth) return bad(fmt::format("more than {} braces deep", kMaxDepth));
    std::vector<PatternNode> choices;
    do {
      MLXMILL_ASSIGN(PatternNode choice, sequence(depth + 1));
      choices.push_back(std::move(choice));
    } while (at_ < text_.size() && text_[at_] == ',' && ++at_);
    if (at_ == text_.size()) return bad("'{' without its partner");
    ++at_;
    return alternatives_node(std::move(choices));
  }

  std::string_view text_;
  std::size_t at_ = 0;
};

CharacterSet digits() {
  CharacterSet set;
  for (char c = '0'; c <= '9'; ++c) set.set(static_cast<unsigned char>(c));
  return set;
}

CharacterSet word_characters() {
  CharacterSet set = digits() | one_character('_');
  for (int c = 0; c < 26; ++c)
    set.set(static_cast<std::size_t>('a' + c)).set(static_cast<std::size_t>('A' + c));
  return set;
}

class RegexParser {
 public:
  explicit RegexParser(std::string_view text) : text_(text) {}

  Result<PatternNode> parse() {
    MLXMILL_ASSIGN(PatternNode node, alternatives(0));
    if (at_ != text_.size()) return bad("')' without its partner");
    return node;
  }

 private:
  bool take(std::string_view word) {
    if (!text_.substr(at_).starts_with(word)) return false;
    at_ += word.size();
    return true;
  }

  Result<PatternNode> alternatives(int depth) {
    if (depth > kMaxDepth) return bad(fmt::format("more than {} groups deep", kMaxDepth));
    std::vector<PatternNode> choices;
    do {
      std::vector<PatternNode> items;
      while (at_ < text_.size() && text_[at_] != '|' && text_[at_] != ')') {
        MLXMILL_ASSIGN(PatternNode item, repeated(depth));
        items.push_back(std::move(item));
      }
      choices.push_back(sequence_node(std::move(items)));
    } while (take("|"));
    return alternatives_node(std::move(choices));
  }

  Result<PatternNode> repeated(int depth) {
    MLXMILL_ASSIGN(PatternNode node, atom(depth));
    if (take("*")) return repeat_node(std::move(node), 0, -1);
    if (take("+")) return repeat_node(std::move(node), 1, -1);
    if (take("?")) return repeat_node(std::move(node), 0, 1);
    if (!take("{")) return node;
    MLXMILL_ASSIGN(const int least, count());
    int most = least;
    if (take(",")) {
      most = PatternNode::kUnbounded;
      if (at_ < text_.size() && text_[at_] != '}') {
        MLXMILL_ASSIGN(most, count());
        if (most < least) return bad(fmt::format("{{{},{}}} counts down", least, most));
      }
    }
    if (!take("}")) return bad("'{' without its partner");
    return repeat_node(std::move(node), least, most);
  }

  Result<int> count() {
    int value = 0;
    const char* last = text_.data() + text_.size();
    const auto [end, problem] = std::from_chars(text_.data() + at_, last, value);
    if (problem != std::errc() || value < 0 || value > kMaxRepeat) {
      return bad(fmt::format("a repetition needs a number up to {}", kMaxRepeat));
    }
    at_ = static_cast<std::size_t>(end - text_.data());
    return value;
  }

  Result<PatternNode> atom(int depth) {
    const char c = text_[at_++];
    switch (c) {
      case '(': {
        if (!take("?:") && take("?")) return bad("only groups (...) and (?:...) are known");
        MLXMILL_ASSIGN(PatternNode node, alternatives(depth + 1));
        if (!take(")")) return bad("'(' without its partner");
        return node;
      }
      case '[': {
        MLXMILL_ASSIGN(const CharacterSet set, parse_set(text_, at_, '^'));
        return set_node(set);
      }
      case '.':
        return set_node(CharacterSet().set());
      case '\\':
        return escape();
      case '^':
      case '$':
        return bad(fmt::format("'{}' has no use: the whole path has to match", c));
      case '*':
      case '+':
      case '?':
      case '{':
        return bad(fmt::format("'{}' has nothing to repeat", c));
      default:
        return set_node(one_character(c));
    }
  }

  Result<PatternNode> escape() {
    if (at_ == text_.size()) return bad("'\\' at the end");
    const char c = text_[at_++];
    if (c == 'd') return set_node(digits());
    if (c == 'D') return set_node(~digits());
    if (c == 'w') return set_node(word_characters());
    if (c == 'W') return set_node(~word_characters());
    if (word_characters().test(static_cast<unsigned char>(c))) {
      return bad(fmt::format("'\\{}' is not known; expected \\d, \\w or an escaped symbol", c));
    }
    return set_node(one_character(c));
  }

  std::string_view text_;
  std::size_t at_ = 0;
};

}  // namespace

PatternNode set_node(CharacterSet set) {
  PatternNode node;
  node.kind = Kind::kSet;
  node.set = set;
  return node;
}

PatternNode sequence_node(std::vector<PatternNode> children) {
  PatternNode node;
  node.children = std::move(children);
  return node;
}

PatternNode repeat_node(PatternNode child, int least, int most) {
  PatternNode node;
  node.kind = Kind::kRepeat;
  node.least = least;
  node.most = most;
  node.children.push_back(std::move(child));
  return node;
}

CharacterSet one_character(char c) { return CharacterSet().set(static_cast<unsigned char>(c)); }

CharacterSet all_but(char c) { return ~one_character(c); }

Result<CharacterSet> parse_set(std::string_view text, std::size_t& at, char negation) {
  const bool negative = at < text.size() && text[at] == negation;
  if (negative) ++at;
  CharacterSet set;
  const std::size_t first = at;
  while (at < text.size() && (text[at] != ']' || at == first)) {
    std::size_t low = static_cast<unsigned char>(text[at++]);
    std::size_t high = low;
    if (low == '\\' && at < text.size()) low = high = static_cast<unsigned char>(text[at++]);
    if (at + 1 < text.size() && text[at] == '-' && text[at + 1] != ']') {
      high = static_cast<unsigned char>(text[at + 1]);
      at += 2;
      if (high < low) return bad("a set's range runs backwards");
    }
    for (std::size_t c = low; c <= high; ++c) set.set(c);
  }
  if (at == text.size()) return bad("'[' without its partner");
  ++at;
  return negative ? ~set : set;
}

Result<PatternNode> parse_glob(std::string_view text) { return GlobParser(text).parse(); }

Result<PatternNode> parse_regex(std::string_view text) { return RegexParser(text).parse(); }

}  // namespace mlxmill::quantize
