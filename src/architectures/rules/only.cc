// only: every element must be one of a few values. That is seen when the tensor is written.
#include <fmt/format.h>

#include "architectures/rules/rules.h"
#include "tensors/view.h"

namespace mlxmill::architectures::rules {
namespace {

constexpr std::size_t kMaxValues = 16;

class Only final : public Rule {
 public:
  Only(RuleHead head, std::vector<float> values)
      : Rule(std::move(head)), values_(std::move(values)) {}

  Status apply(Work& work) const override {
    return rewrite(work, [&](const Match& match, std::vector<TensorView>& out) -> Status {
      MLXMILL_TRY(check_float(match.view));
      out.push_back(tensors::view_of(match.view.name,
                                     tensors::Computed{tensors::OnlyValues{values_, head().why},
                                                       match.view.dtype,
                                                       match.view.shape,
                                                       {match.view}}));
      return {};
    });
  }

 private:
  std::vector<float> values_;
};

}  // namespace

Result<std::unique_ptr<Rule>> make_only(RuleReader& reader) {
  const Node* node = reader.table().find("values");
  const Node::Items* items = node ? node->as_array() : nullptr;
  std::vector<float> values;
  for (std::size_t i = 0; items && i < items->size() && i < kMaxValues; ++i) {
    const Node& item = (*items)[i];
    if (const std::int64_t* integer = item.as_int()) values.push_back(static_cast<float>(*integer));
    if (const double* real = item.as_float()) values.push_back(static_cast<float>(*real));
  }
  if (!items || items->empty() || values.size() != items->size() || reader.head().why.empty()) {
    return reader.table().error(
        reader.head().line,
        fmt::format("only needs values, at most {} numbers, and why, as values = [-1, 1]",
                    kMaxValues));
  }
  return std::unique_ptr<Rule>(std::make_unique<Only>(reader.head(), std::move(values)));
}

}  // namespace mlxmill::architectures::rules
