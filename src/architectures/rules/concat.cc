// concat: several tensors one after the other along an axis they have.
#include <fmt/format.h>

#include <map>

#include "architectures/rules/rules.h"
#include "tensors/view.h"

namespace mlxmill::architectures::rules {
namespace {

class Concat final : public Rule {
 public:
  Concat(RuleHead head, Template to, std::int64_t axis)
      : Rule(std::move(head)), to_(std::move(to)), axis_(axis) {}

  Status apply(Work& work) const override {
    // By destination; each part at the place of its pattern.
    std::map<std::string, std::vector<std::optional<TensorView>>> groups;
    MLXMILL_TRY(rewrite(work, [&](const Match& match, std::vector<TensorView>&) -> Status {
      auto& parts = groups[to_.expand(match.captures)];
      parts.resize(head().patterns.size());
      for (std::size_t i = 0; i < parts.size(); ++i) {
        if (!head().patterns[i].match(match.view.name)) continue;
        if (parts[i]) {
          return Error(Code::kInvalidInput,
                       fmt::format("{} and this are the same part", quoted(parts[i]->name)))
              .at(fmt::format("tensor {}", quoted(match.view.name)));
        }
        parts[i] = match.view;
        break;
      }
      return {};
    }));
    if (groups.empty()) return {};
    std::vector<TensorView> result = work.tensors.views();
    for (auto& [name, parts] : groups) {
      auto joined = join(parts);
      if (!joined) {
        return std::move(joined).error().at(fmt::format("{}: {}", where(), quoted(name)));
      }
      joined->name = name;
      result.push_back(*std::move(joined));
    }
    if (Status status = work.tensors.replace(std::move(result)); !status) {
      return std::move(status).error().at(where());
    }
    return {};
  }

 private:
  Result<TensorView> join(std::vector<std::optional<TensorView>>& parts) const {
    std::vector<TensorView> views;
    for (std::size_t i = 0; i < parts.size(); ++i) {
      if (!parts[i]) {
        return Error(Code::kInvalidInput,
                     fmt::format("part {} ({}) is missing", i + 1, head().patterns[i].text()))
            .hint("is a shard missing?");
      }
      views.push_back(*std::move(parts[i]));
    }
    MLXMILL_ASSIGN(const std::size_t axis, axis_of(views[0], axis_));
    return tensors::concatenate(views, axis);
  }

  Template to_;
  std::int64_t axis_;
};

}  // namespace

Result<std::unique_ptr<Rule>> make_concat(RuleReader& reader) {
  MLXMILL_ASSIGN(Template to, reader.name("to"));
  MLXMILL_ASSIGN(const auto axis, reader.integer("axis"));
  if (reader.head().patterns.size() < 2) {
    return reader.table().error(reader.head().line,
                                "concat needs a list of patterns, one for each part in its order");
  }
  return std::unique_ptr<Rule>(
      std::make_unique<Concat>(reader.head(), std::move(to), axis.value_or(0)));
}

}  // namespace mlxmill::architectures::rules
