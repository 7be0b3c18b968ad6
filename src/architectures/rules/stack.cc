// stack: tensors that differ in one number become the slices of one tensor.
#include <fmt/format.h>

#include <map>

#include "architectures/rules/rules.h"
#include "tensors/view.h"

namespace mlxmill::architectures::rules {
namespace {

class Stack final : public Rule {
 public:
  Stack(RuleHead head, Template to, std::string over, std::optional<Expression> count)
      : Rule(std::move(head)),
        to_(std::move(to)),
        over_(std::move(over)),
        count_(std::move(count)) {}

  Status apply(Work& work) const override {
    // By destination; slices by number, since names sort 10 before 2.
    struct Group {
      std::map<std::int64_t, TensorView> slices;
      std::int64_t count = -1;
    };
    std::map<std::string, Group> groups;
    MLXMILL_TRY(rewrite(work, [&](const Match& match, std::vector<TensorView>&) -> Status {
      Group& group = groups[to_.expand(match.captures)];
      if (group.slices.empty() && count_) {
        MLXMILL_ASSIGN(group.count, count_->integer(match.scope));
      }
      for (const Capture& capture : match.captures) {
        if (capture.name != over_) continue;
        if (!group.slices.emplace(*capture.number, match.view).second) {
          return Error(Code::kInvalidInput,
                       fmt::format("two tensors are slice {}", *capture.number))
              .at(fmt::format("tensor {}", quoted(match.view.name)));
        }
      }
      return {};
    }));
    if (groups.empty()) return {};
    std::vector<TensorView> result = work.tensors.views();
    for (auto& [name, group] : groups) {
      auto stacked = join(group.slices, group.count);
      if (!stacked)
        return std::move(stacked).error().at(fmt::format("{}: {}", where(), quoted(name)));
      stacked->name = name;
      result.push_back(*std::move(stacked));
    }
    if (Status status = work.tensors.replace(std::move(result)); !status) {
      return std::move(status).error().at(where());
    }
    return {};
  }

 private:
  static Result<TensorView> join(std::map<std::int64_t, TensorView>& slices, std::int64_t count) {
    const auto n_found = static_cast<std::int64_t>(slices.size());
    if (count < 0) count = n_found;
    std::int64_t next = 0;
    for (const auto& [number, view] : slices) {
      if (number >= count) {
        return Error(Code::kInvalidInput, fmt::format("slice {} ({}) is beyond the {} expected",
                                                      number, quoted(view.name), count));
      }
      if (number != next) break;
      ++next;
    }
    if (next != count) {
      return Error(Code::kInvalidInput,
                   fmt::format("slice {} is missing; expected {}, got {}", next, count, n_found))
          .hint("is a shard missing?");
    }
    std::vector<TensorView> views;
    for (auto& [number, view] : slices) views.push_back(std::move(view));
    return tensors::stack(views);
  }

  Template to_;
  std::string over_;
  std::optional<Expression> count_;
};

}  // namespace

Result<std::unique_ptr<Rule>> make_stack(RuleReader& reader) {
  MLXMILL_ASSIGN(Template to, reader.name("to"));
  MLXMILL_ASSIGN(auto count, reader.expression("count"));
  std::optional<std::string> over;
  for (const Pattern& pattern : reader.head().patterns) {
    std::vector<std::string> free;
    for (const std::string& number : pattern.numbers()) {
      if (!to.uses(number)) free.push_back(number);
    }
    if (free.size() != 1 || (over && *over != free[0])) {
      return reader.table().error(
          reader.head().line,
          fmt::format("stack needs exactly one {{number#}} of {} that \"to\" does not use",
                      quoted(pattern.text())));
    }
    over = free[0];
  }
  return std::unique_ptr<Rule>(
      std::make_unique<Stack>(reader.head(), std::move(to), *over, std::move(count)));
}

}  // namespace mlxmill::architectures::rules
