// Expressions: text to tree. A recursive descent with one function per level of precedence.
#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <charconv>
#include <optional>
#include <span>

#include "base/decimal.h"
#include "language/document.h"
#include "language/expression.h"
#include "language/expression_functions.h"
#include "language/expression_tree.h"

namespace mlxmill::language {
namespace {

using Tree = Expression::Tree;

constexpr std::size_t kMaxTextBytes = 1000;
constexpr int kMaxDepth = 32;
constexpr int kMaxTreeDepth = 64;

struct Operator {
  std::string_view word;
  Op op;
};

/// Binary operators from the loosest level to the tightest. Within a level the longer spelling
/// comes first.
constexpr std::array kOr{Operator{"or", Op::kOr}};
constexpr std::array kAnd{Operator{"and", Op::kAnd}};
constexpr std::array kCompare{Operator{"==", Op::kEqual},     Operator{"!=", Op::kNotEqual},
                              Operator{"<=", Op::kLessEqual}, Operator{">=", Op::kGreaterEqual},
                              Operator{"<", Op::kLess},       Operator{">", Op::kGreater},
                              Operator{"not in", Op::kNotIn}, Operator{"in", Op::kIn}};
constexpr std::array kCoalesce{Operator{"??", Op::kCoalesce}};
constexpr std::array kAdd{Operator{"+", Op::kAdd}, Operator{"-", Op::kSubtract}};
constexpr std::array kMultiply{Operator{"//", Op::kFloorDivide}, Operator{"*", Op::kMultiply},
                               Operator{"/", Op::kDivide}, Operator{"%", Op::kModulo}};

bool is_word_char(char c) {
  return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_';
}

class Parser {
 public:
  explicit Parser(Tree& tree) : tree_(tree), text_(tree.text) {}

  Result<std::size_t> parse() {
    MLXMILL_ASSIGN(const std::size_t root, choose());
    skip_spaces();
    if (at_ != text_.size()) return error("an operator");
    // Chains nest to the left without recursion here, but not in the evaluator. Operands precede
    // their users.
    std::vector<int> depth;
    for (const Tree::Node& node : tree_.nodes) {
      int below = 0;
      for (const std::size_t operand : node.operands) below = std::max(below, depth[operand]);
      depth.push_back(below + 1);
      if (below >= kMaxTreeDepth) return error(fmt::format("at most {} operators", kMaxTreeDepth));
    }
    return root;
  }

 private:
  using Level = Result<std::size_t> (Parser::*)();

  Error error(std::string_view expected) const {
    const std::string_view rest = std::string_view(text_).substr(at_);
    return error_at(tree_.file_name, tree_.line,
                    fmt::format("in {} at column {}: expected {}, got {}", quoted(text_), at_ + 1,
                                expected, rest.empty() ? "the end" : quoted(rest.substr(0, 20))));
  }

  void skip_spaces() {
    while (at_ < text_.size() && (text_[at_] == ' ' || text_[at_] == '\n' || text_[at_] == '\t')) {
      ++at_;
    }
  }

  /// Takes a word or symbol when it comes next. A word must end where an identifier would.
  bool take(std::string_view word) {
    skip_spaces();
    if (!std::string_view(text_).substr(at_).starts_with(word)) return false;
    const std::size_t end = at_ + word.size();
    if (is_word_char(word.back()) && end < text_.size() && is_word_char(text_[end])) return false;
    at_ = end;
    return true;
  }

  std::size_t add(Op op, std::size_t begin, std::vector<std::size_t> operands) {
    Tree::Node node;
    node.op = op;
    node.begin = begin;
    node.end = at_;
    node.operands = std::move(operands);
    tree_.nodes.push_back(std::move(node));
    return tree_.nodes.size() - 1;
  }

  /// Left-associative operators of one level over the next.
  Result<std::size_t> binary(std::span<const Operator> operators, Level next) {
    skip_spaces();
    const std::size_t begin = at_;
    MLXMILL_ASSIGN(std::size_t left, (this->*next)());
    while (true) {
      const Operator* found = nullptr;
      for (const Operator& candidate : operators) {
        if (take(candidate.word)) {
          found = &candidate;
          break;
        }
      }
      if (!found) return left;
      MLXMILL_ASSIGN(const std::size_t right, (this->*next)());
      left = add(found->op, begin, {left, right});
    }
  }

  Result<std::size_t> choose() {
    if (++depth_ > kMaxDepth) return error(fmt::format("at most {} levels", kMaxDepth));
    skip_spaces();
    const std::size_t begin = at_;
    MLXMILL_ASSIGN(std::size_t value, disjunction());
    if (take("if")) {
      MLXMILL_ASSIGN(const std::size_t condition, disjunction());
      if (!take("else")) return error("else");
      MLXMILL_ASSIGN(const std::size_t other, choose());
      value = add(Op::kChoose, begin, {condition, value, other});
    }
    --depth_;
    return value;
  }

  Result<std::size_t> disjunction() { return binary(kOr, &Parser::conjunction); }
  Result<std::size_t> conjunction() { return binary(kAnd, &Parser::negation); }
  Result<std::size_t> comparison() { return binary(kCompare, &Parser::coalesce); }
  Result<std::size_t> coalesce() { return binary(kCoalesce, &Parser::sum); }
  Result<std::size_t> sum() { return binary(kAdd, &Parser::product); }
  Result<std::size_t> product() { return binary(kMultiply, &Parser::minus); }

  Result<std::size_t> negation() { return prefix("not", Op::kNot, &Parser::comparison); }
  Result<std::size_t> minus() { return prefix("-", Op::kNegate, &Parser::postfix); }

  Result<std::size_t> prefix(std::string_view word, Op op, Level next) {
    skip_spaces();
    const std::size_t begin = at_;
    int count = 0;
    while (take(word)) {
      if (++count > kMaxDepth) return error(fmt::format("at most {} levels", kMaxDepth));
    }
    MLXMILL_ASSIGN(std::size_t value, (this->*next)());
    for (; count > 0; --count) value = add(op, begin, {value});
    return value;
  }

  Result<std::size_t> postfix() {
    skip_spaces();
    const std::size_t begin = at_;
    MLXMILL_ASSIGN(std::size_t value, primary());
    while (true) {
      if (take("[")) {
        MLXMILL_ASSIGN(const std::size_t index, choose());
        if (!take("]")) return error("]");
        value = add(Op::kIndex, begin, {value, index});
      } else if (tree_.nodes[value].op == Op::kIndex && take(".")) {
        MLXMILL_ASSIGN(const std::size_t member, member_name());
        value = add(Op::kIndex, begin, {value, member});
      } else {
        return value;
      }
    }
  }

  Result<std::size_t> primary() {
    skip_spaces();
    if (at_ == text_.size()) return error("a value");
    const std::size_t begin = at_;
    const char c = text_[at_];
    if (take("(")) {
      MLXMILL_ASSIGN(const std::size_t value, choose());
      if (!take(")")) return error(")");
      return value;
    }
    if (take("[")) {
      return brackets(begin);
    }
    if (c == '\'' || c == '"') return string(c);
    if (c >= '0' && c <= '9') return number();
    if (is_word_char(c)) return word();
    return error("a value");
  }

  /// [a, b], [x for i < count] or [x for i < count if condition], behind the bracket.
  Result<std::size_t> brackets(std::size_t begin) {
    std::vector<std::size_t> items;
    while (!take("]")) {
      if (!items.empty() && !take(",")) return error(", or ]");
      MLXMILL_ASSIGN(const std::size_t item, choose());
      items.push_back(item);
      if (items.size() > 1 || !take("for")) continue;
      MLXMILL_ASSIGN(const std::size_t variable, member_name());
      const std::string name = *tree_.nodes[variable].literal.as_string();
      if (!take("<")) return error("<");
      // Python's rule, too: a choice here needs parentheses.
      MLXMILL_ASSIGN(const std::size_t count, disjunction());
      std::vector<std::size_t> operands = {item, count};
      if (take("if")) {
        MLXMILL_ASSIGN(const std::size_t condition, disjunction());
        operands.push_back(condition);
      }
      if (!take("]")) return error("]");
      const std::size_t each = add(Op::kEach, begin, std::move(operands));
      tree_.nodes[each].path = {name};
      return each;
    }
    return add(Op::kList, begin, std::move(items));
  }

  /// Comma-separated expressions up to `close`, which is taken.
  Result<std::vector<std::size_t>> list(std::string_view close) {
    std::vector<std::size_t> items;
    while (!take(close)) {
      if (!items.empty() && !take(",")) return error(", or " + std::string(close));
      MLXMILL_ASSIGN(const std::size_t item, choose());
      items.push_back(item);
    }
    return items;
  }

  Result<std::size_t> literal(std::size_t begin, base::Value value) {
    const std::size_t node = add(Op::kLiteral, begin, {});
    tree_.nodes[node].literal = std::move(value);
    return node;
  }

  Result<std::size_t> string(char quote) {
    const std::size_t begin = at_++;
    const std::size_t close = text_.find(quote, at_);
    if (close == std::string::npos) return error(std::string("a closing ") + quote);
    std::string value = text_.substr(at_, close - at_);
    at_ = close + 1;
    return literal(begin, base::Value(std::move(value)));
  }

  Result<std::size_t> number() {
    const std::size_t begin = at_;
    const char* first = text_.data() + at_;
    const char* last = text_.data() + text_.size();
    std::int64_t integer = 0;
    const auto whole = std::from_chars(first, last, integer);
    const bool is_float = whole.ptr != last && (*whole.ptr == '.' || *whole.ptr == 'e');
    if (is_float) {
      const std::string spelling = float_spelling();
      if (spelling.empty()) return error("a number");
      at_ += spelling.size();
      return literal(begin, base::Value(base::parse_decimal(spelling)));
    }
    if (whole.ec != std::errc()) return error("an integer of at most 64 bits");
    at_ = static_cast<std::size_t>(whole.ptr - text_.data());
    if (at_ < text_.size() && is_word_char(text_[at_])) return error("an operator");
    return literal(begin, base::Value(integer));
  }

  /// "1.5" or "1.5e-3" at this place; empty when what begins as a number does not go on as one.
  std::string float_spelling() const {
    std::size_t at = at_;
    const auto digits = [&] {
      const std::size_t begin = at;
      while (at < text_.size() && text_[at] >= '0' && text_[at] <= '9') ++at;
      return at != begin;
    };
    bool sound = digits();
    if (at < text_.size() && text_[at] == '.') {
      ++at;
      sound &= digits();
    }
    if (at < text_.size() && text_[at] == 'e') {
      ++at;
      if (at < text_.size() && (text_[at] == '+' || text_[at] == '-')) ++at;
      sound &= digits();
    }
    sound &= at == text_.size() || !is_word_char(text_[at]);
    return sound ? text_.substr(at_, at - at_) : std::string();
  }

  Result<std::size_t> member_name() {
    skip_spaces();
    const std::size_t begin = at_;
    while (at_ < text_.size() && is_word_char(text_[at_])) ++at_;
    if (at_ == begin) return error("a name");
    return literal(begin, base::Value(text_.substr(begin, at_ - begin)));
  }

  Result<std::size_t> word() {
    const std::size_t begin = at_;
    std::vector<std::string> path;
    do {
      const std::size_t start = at_;
      while (at_ < text_.size() && is_word_char(text_[at_])) ++at_;
      if (at_ == start) return error("a name");
      path.push_back(text_.substr(start, at_ - start));
    } while (at_ < text_.size() && text_[at_] == '.' && ++at_);
    if (path.size() == 1) {
      if (path[0] == "true") return literal(begin, base::Value(true));
      if (path[0] == "false") return literal(begin, base::Value(false));
      if (path[0] == "null") return literal(begin, base::Value());
      for (const std::string_view reserved : {"and", "or", "not", "in", "if", "else"}) {
        if (path[0] != reserved) continue;
        at_ = begin;
        return error("a value");
      }
      if (take("(")) return call(begin, std::move(path));
    }
    const std::size_t node = add(Op::kName, begin, {});
    tree_.nodes[node].path = std::move(path);
    return node;
  }

  Result<std::size_t> call(std::size_t begin, std::vector<std::string> path) {
    MLXMILL_ASSIGN(std::vector<std::size_t> arguments, list(")"));
    for (const Function& function : functions()) {
      if (path[0] != function.name || arguments.size() < function.min_arguments ||
          arguments.size() > function.max_arguments) {
        continue;
      }
      if (function.takes_name && tree_.nodes[arguments[0]].op != Op::kName) {
        at_ = tree_.nodes[arguments[0]].begin;
        return error("the name of a key");
      }
      const std::size_t node = add(Op::kCall, begin, std::move(arguments));
      tree_.nodes[node].path = std::move(path);
      return node;
    }
    at_ = begin;
    std::string known;
    for (const Function& function : functions()) {
      known += (known.empty() ? "" : ", ") + std::string(function.usage);
    }
    return error("one of " + known);
  }

  Tree& tree_;
  const std::string& text_;
  std::size_t at_ = 0;
  int depth_ = 0;
};

}  // namespace

Result<Expression> Expression::parse(std::string_view text, std::string_view file_name,
                                     std::uint32_t line) {
  if (text.size() > kMaxTextBytes) {
    return error_at(file_name, line,
                    fmt::format("an expression has {} characters; expected at most {}", text.size(),
                                kMaxTextBytes));
  }
  auto tree = std::make_shared<Tree>();
  tree->text = text;
  tree->file_name = file_name;
  tree->line = line;
  MLXMILL_ASSIGN(tree->root, Parser(*tree).parse());
  Expression result;
  result.tree_ = std::move(tree);
  return result;
}

const std::string& Expression::text() const { return tree_->text; }
std::uint32_t Expression::line() const { return tree_->line; }

std::vector<std::string> Expression::names() const {
  std::vector<std::string> result;
  for (const Tree::Node& node : tree_->nodes) {
    if (node.op == Op::kName) result.push_back(node.path[0]);
  }
  return result;
}

}  // namespace mlxmill::language
