// Path patterns: tree to automaton, and the automaton's run. All states a path can be in are
// followed at once, so no pattern takes more than states x length steps.
#include "quantize/path_pattern.h"

#include <fmt/format.h>

#include "quantize/pattern_tree.h"

namespace mlxmill::quantize {

namespace {

constexpr std::size_t kMaxPatternBytes = 512;
/// Nested counts of something empty add no states, but work.
constexpr int kMaxSteps = 1 << 16;

}  // namespace

class PatternCompiler {
 public:
  explicit PatternCompiler(PathPattern& pattern) : p_(pattern) {}

  Status compile(const PatternNode& root) {
    emit(root);
    add(PathPattern::Op::kMatch);
    if (full_) {
      return Error(Code::kInvalidInput,
                   fmt::format("it needs more than {} states", PathPattern::kMaxStates));
    }
    return {};
  }

 private:
  std::uint32_t here() const { return static_cast<std::uint32_t>(p_.states_.size()); }

  std::uint32_t add(PathPattern::Op op, std::uint32_t a = 0) {
    p_.states_.push_back({op, a, 0});
    return here() - 1;
  }

  void emit(const PatternNode& node) {
    full_ = full_ || p_.states_.size() > PathPattern::kMaxStates || ++steps_ > kMaxSteps;
    if (full_) return;
    switch (node.kind) {
      case PatternNode::Kind::kSet:
        p_.sets_.push_back(node.set);
        add(PathPattern::Op::kSet, static_cast<std::uint32_t>(p_.sets_.size() - 1));
        break;
      case PatternNode::Kind::kSequence:
        for (const PatternNode& child : node.children) emit(child);
        break;
      case PatternNode::Kind::kAlternatives:
        alternatives(node);
        break;
      case PatternNode::Kind::kRepeat:
        repeat(node);
        break;
    }
  }

  void alternatives(const PatternNode& node) {
    std::vector<std::uint32_t> exits;
    for (std::size_t i = 0; i < node.children.size(); ++i) {
      const bool last = i + 1 == node.children.size();
      const std::uint32_t split = last ? 0 : add(PathPattern::Op::kSplit, here() + 1);
      emit(node.children[i]);
      if (last) break;
      exits.push_back(add(PathPattern::Op::kJump));
      p_.states_[split].b = here();
    }
    for (const std::uint32_t exit : exits) p_.states_[exit].a = here();
  }

  void repeat(const PatternNode& node) {
    const PatternNode& child = node.children[0];
    for (int i = 0; i < node.least && !full_; ++i) emit(child);
    if (node.most == PatternNode::kUnbounded) {
      const std::uint32_t split = add(PathPattern::Op::kSplit, here() + 1);
      emit(child);
      add(PathPattern::Op::kJump, split);
      p_.states_[split].b = here();
      return;
    }
    std::vector<std::uint32_t> splits;
    for (int i = node.least; i < node.most && !full_; ++i) {
      splits.push_back(add(PathPattern::Op::kSplit, here() + 1));
      emit(child);
    }
    for (const std::uint32_t split : splits) p_.states_[split].b = here();
  }

  PathPattern& p_;
  int steps_ = 0;
  bool full_ = false;
};

Result<PathPattern> PathPattern::glob(std::string_view text) {
  PathPattern pattern;
  pattern.text_ = text;
  if (text.empty()) return Error(Code::kInvalidInput, "an empty pattern matches nothing");
  if (text.size() > kMaxPatternBytes) {
    return Error(Code::kInvalidInput, fmt::format("longer than {} characters", kMaxPatternBytes));
  }
  MLXMILL_ASSIGN(const PatternNode tree, parse_glob(text));
  MLXMILL_TRY(PatternCompiler(pattern).compile(tree));
  return pattern;
}

Result<PathPattern> PathPattern::regex(std::string_view text) {
  PathPattern pattern;
  pattern.text_ = text;
  pattern.is_regex_ = true;
  if (text.empty()) return Error(Code::kInvalidInput, "an empty pattern matches nothing");
  if (text.size() > kMaxPatternBytes) {
    return Error(Code::kInvalidInput, fmt::format("longer than {} characters", kMaxPatternBytes));
  }
  MLXMILL_ASSIGN(const PatternNode tree, parse_regex(text));
  MLXMILL_TRY(PatternCompiler(pattern).compile(tree));
  return pattern;
}

bool PathPattern::matches(std::string_view path) const {
  // The sets of states before and after a character; `seen` holds the step that last added a state.
  std::vector<std::uint32_t> now;
  std::vector<std::uint32_t> next;
  std::vector<std::uint32_t> open;
  std::vector<std::size_t> seen(states_.size(), 0);
  bool matched = false;
  const auto enter = [&](std::uint32_t state, std::size_t step, std::vector<std::uint32_t>& list) {
    open.push_back(state);
    while (!open.empty()) {
      const std::uint32_t at = open.back();
      open.pop_back();
      if (seen[at] == step) continue;
      seen[at] = step;
      const State& s = states_[at];
      if (s.op == Op::kSet) list.push_back(at);
      if (s.op == Op::kMatch) matched = true;
      if (s.op == Op::kSplit) open.push_back(s.b);
      if (s.op == Op::kSplit || s.op == Op::kJump) open.push_back(s.a);
    }
  };
  enter(0, 1, now);
  for (std::size_t i = 0; i < path.size(); ++i) {
    if (now.empty()) return false;
    matched = false;
    next.clear();
    for (const std::uint32_t at : now) {
      if (sets_[states_[at].a].test(static_cast<unsigned char>(path[i]))) {
        enter(at + 1, i + 2, next);
      }
    }
    now.swap(next);
  }
  return matched;
}

}  // namespace mlxmill::quantize
