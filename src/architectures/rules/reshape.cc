// reshape: the same elements under another shape.  squeeze: without the axes of extent 1.
#include <fmt/format.h>

#include "architectures/rules/rules.h"
#include "base/checked_math.h"
#include "tensors/view.h"

namespace mlxmill::architectures::rules {
namespace {

class Reshape final : public Rule {
 public:
  /// No extents: squeeze.
  Reshape(RuleHead head, std::vector<Expression> extents)
      : Rule(std::move(head)), extents_(std::move(extents)) {}

  Status apply(Work& work) const override {
    return rewrite(work, [&](const Match& match, std::vector<TensorView>& out) -> Status {
      base::Shape shape;
      if (extents_.empty()) {
        for (const std::int64_t extent : match.view.shape) {
          if (extent != 1) shape.push_back(extent);
        }
      } else {
        MLXMILL_ASSIGN(shape, target(match));
      }
      MLXMILL_ASSIGN(TensorView view, tensors::reshape(match.view, shape));
      out.push_back(std::move(view));
      return {};
    });
  }

 private:
  /// The shape with its -1 worked out.
  Result<base::Shape> target(const Match& match) const {
    base::Shape shape;
    std::optional<std::size_t> open;
    for (const Expression& expression : extents_) {
      MLXMILL_ASSIGN(const std::int64_t extent, expression.integer(match.scope));
      const bool is_open = extent == -1;
      if (extent < -1 || (is_open && open)) {
        return Error(Code::kInvalidInput,
                     fmt::format("shape has {}; expected extents, one of them may be -1", extent))
            .at(fmt::format("tensor {}", quoted(match.view.name)));
      }
      if (is_open) open = shape.size();
      shape.push_back(is_open ? 1 : extent);
    }
    if (open) {
      // A count that does not divide leaves a shape that reshape() refuses.
      const auto known = base::element_count(shape).value_or(0);
      const auto all = base::element_count(match.view.shape).value_or(0);
      shape[*open] = known == 0 ? 0 : static_cast<std::int64_t>(all / known);
    }
    return shape;
  }

  std::vector<Expression> extents_;
};

}  // namespace

Result<std::unique_ptr<Rule>> make_reshape(RuleReader& reader) {
  MLXMILL_ASSIGN(std::vector<Expression> shape, reader.expressions("shape"));
  if (shape.empty()) return reader.table().error(reader.head().line, "reshape has no shape");
  return std::unique_ptr<Rule>(std::make_unique<Reshape>(reader.head(), std::move(shape)));
}

Result<std::unique_ptr<Rule>> make_squeeze(RuleReader& reader) {
  return std::unique_ptr<Rule>(std::make_unique<Reshape>(reader.head(), std::vector<Expression>()));
}

}  // namespace mlxmill::architectures::rules
