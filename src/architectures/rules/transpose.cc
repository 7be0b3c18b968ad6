// transpose: the axes in another order.
#include <fmt/format.h>

#include <algorithm>

#include "architectures/rules/rules.h"
#include "tensors/view.h"

namespace mlxmill::architectures::rules {
namespace {

class Transpose final : public Rule {
 public:
  Transpose(RuleHead head, std::vector<std::size_t> axes)
      : Rule(std::move(head)), axes_(std::move(axes)) {}

  Status apply(Work& work) const override {
    return rewrite(work, [&](const Match& match, std::vector<TensorView>& out) -> Status {
      MLXMILL_ASSIGN(TensorView view, tensors::transpose(match.view, axes_));
      out.push_back(std::move(view));
      return {};
    });
  }

 private:
  std::vector<std::size_t> axes_;
};

}  // namespace

Result<std::unique_ptr<Rule>> make_transpose(RuleReader& reader) {
  const Node* node = reader.table().find("axes");
  const Node::Items* items = node ? node->as_array() : nullptr;
  std::vector<std::size_t> axes;
  if (items) {
    for (const Node& item : *items) {
      const std::int64_t* axis = item.as_int();
      const bool fits = axis && *axis >= 0 && *axis < static_cast<std::int64_t>(items->size());
      if (fits && std::find(axes.begin(), axes.end(), *axis) == axes.end()) {
        axes.push_back(static_cast<std::size_t>(*axis));
      }
    }
  }
  if (!items || axes.empty() || axes.size() != items->size()) {
    return reader.table().error(reader.head().line,
                                "transpose needs axes; expected every axis once, as [1, 0]");
  }
  return std::unique_ptr<Rule>(std::make_unique<Transpose>(reader.head(), std::move(axes)));
}

}  // namespace mlxmill::architectures::rules
