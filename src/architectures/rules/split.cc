// split: one tensor becomes several along an axis, by sizes, in equal parts, or every n-th element.
#include <fmt/format.h>

#include "architectures/rules/rules.h"
#include "tensors/view.h"

namespace mlxmill::architectures::rules {
namespace {

constexpr std::int64_t kMaxParts = 1 << 16;

class Split final : public Rule {
 public:
  struct Plan {
    std::int64_t axis = 0;
    std::vector<Expression> sizes;
    std::optional<Expression> parts;
    std::optional<Expression> every;
    std::vector<Template> to;
  };

  Split(RuleHead head, Plan plan) : Rule(std::move(head)), plan_(std::move(plan)) {}

  Status apply(Work& work) const override {
    return rewrite(work, [&](const Match& match, std::vector<TensorView>& out) -> Status {
      MLXMILL_ASSIGN(const std::size_t axis, axis_of(match.view, plan_.axis));
      std::vector<TensorView> parts;
      if (plan_.every) {
        MLXMILL_ASSIGN(parts, by_step(match, axis));
      } else {
        MLXMILL_ASSIGN(parts, by_sizes(match, axis));
      }
      const bool numbered = plan_.to[0].has_part_number();
      if (!numbered && parts.size() != plan_.to.size()) {
        return bad(match, fmt::format("it has {} parts; expected {}, one for each name of \"to\"",
                                      parts.size(), plan_.to.size()));
      }
      for (std::size_t i = 0; i < parts.size(); ++i) {
        parts[i].name = plan_.to[numbered ? 0 : i].expand(match.captures, i);
        out.push_back(std::move(parts[i]));
      }
      return {};
    });
  }

 private:
  static Error bad(const Match& match, std::string what) {
    return Error(Code::kInvalidInput, std::move(what))
        .at(fmt::format("tensor {}", quoted(match.view.name)));
  }

  static Result<std::int64_t> part_count(const Match& match, const Expression& expression) {
    MLXMILL_ASSIGN(const std::int64_t n, expression.integer(match.scope));
    if (n >= 1 && n <= kMaxParts) return n;
    return bad(match, fmt::format("it cannot be split in {} parts", n));
  }

  Result<std::vector<TensorView>> by_step(const Match& match, std::size_t axis) const {
    MLXMILL_ASSIGN(const std::int64_t step, part_count(match, *plan_.every));
    const std::int64_t extent = match.view.shape[axis];
    if (extent % step != 0) {
      return bad(match, fmt::format("its shape {} is not divisible by {} along axis {}",
                                    base::to_string(match.view.shape), step, axis));
    }
    std::vector<TensorView> parts;
    for (std::int64_t k = 0; k < step; ++k) {
      parts.push_back(tensors::slice(match.view, axis, std::min(k, extent), extent, step));
    }
    return parts;
  }

  Result<std::vector<TensorView>> by_sizes(const Match& match, std::size_t axis) const {
    const std::int64_t extent = match.view.shape[axis];
    std::vector<std::int64_t> sizes;
    if (plan_.parts) {
      MLXMILL_ASSIGN(const std::int64_t n, part_count(match, *plan_.parts));
      sizes.assign(static_cast<std::size_t>(n), extent / n);
    }
    for (const Expression& expression : plan_.sizes) {
      MLXMILL_ASSIGN(const std::int64_t size, expression.integer(match.scope));
      sizes.push_back(size);
    }
    std::int64_t begin = 0;
    std::vector<TensorView> parts;
    for (const std::int64_t size : sizes) {
      if (size < 0 || size > extent - begin) break;
      parts.push_back(tensors::slice(match.view, axis, begin, begin + size));
      begin += size;
    }
    if (begin != extent || parts.size() != sizes.size()) {
      return bad(match,
                 fmt::format("its shape {} does not split into {} along axis {}",
                             base::to_string(match.view.shape), base::to_string(sizes), axis));
    }
    return parts;
  }

  Plan plan_;
};

}  // namespace

Result<std::unique_ptr<Rule>> make_split(RuleReader& reader) {
  Split::Plan plan;
  MLXMILL_ASSIGN(const auto axis, reader.integer("axis"));
  plan.axis = axis.value_or(0);
  MLXMILL_ASSIGN(plan.sizes, reader.expressions("sizes"));
  MLXMILL_ASSIGN(plan.parts, reader.expression("parts"));
  MLXMILL_ASSIGN(plan.every, reader.expression("every"));
  MLXMILL_ASSIGN(plan.to, reader.templates("to"));
  if (!plan.sizes.empty() + plan.parts.has_value() + plan.every.has_value() != 1) {
    return reader.table().error(reader.head().line, "split needs one of sizes, parts and every");
  }
  const bool numbered = plan.to[0].has_part_number();
  if (plan.to.size() > 1 ? numbered : !numbered) {
    return reader.table().error(reader.head().line,
                                "split needs one name with {#}, or several without");
  }
  return std::unique_ptr<Rule>(std::make_unique<Split>(reader.head(), std::move(plan)));
}

}  // namespace mlxmill::architectures::rules
