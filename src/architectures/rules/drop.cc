// drop: the tensor has no place in the converted model.  refuse: its presence means nothing here
// can convert it.
#include <fmt/format.h>

#include "architectures/rules/rules.h"

namespace mlxmill::architectures::rules {
namespace {

class Drop final : public Rule {
 public:
  explicit Drop(RuleHead head) : Rule(std::move(head)) {}

  Status apply(Work& work) const override {
    return rewrite(work, [&](const Match& match, std::vector<TensorView>&) -> Status {
      work.dropped.push_back({match.view.name, head().why});
      return {};
    });
  }
};

class Refuse final : public Rule {
 public:
  explicit Refuse(RuleHead head) : Rule(std::move(head)) {}

  Status apply(Work& work) const override {
    return rewrite(work, [&](const Match& match, std::vector<TensorView>&) -> Status {
      return Error(Code::kUnsupported, head().why)
          .at(fmt::format("tensor {}", quoted(match.view.name)));
    });
  }
};

template <typename T>
Result<std::unique_ptr<Rule>> make(RuleReader& reader, std::string_view kind) {
  if (reader.head().why.empty()) {
    return reader.table().error(
        reader.head().line, fmt::format("{} has no why; expected a reason people can read", kind));
  }
  return std::unique_ptr<Rule>(std::make_unique<T>(reader.head()));
}

}  // namespace

Result<std::unique_ptr<Rule>> make_drop(RuleReader& reader) { return make<Drop>(reader, "drop"); }

Result<std::unique_ptr<Rule>> make_refuse(RuleReader& reader) {
  return make<Refuse>(reader, "refuse");
}

}  // namespace mlxmill::architectures::rules
