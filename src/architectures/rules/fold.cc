// fold: factors that a file keeps beside a tensor go into it.
#include <fmt/format.h>

#include <map>

#include "architectures/rules/rules.h"
#include "base/checked_math.h"
#include "tensors/view.h"

namespace mlxmill::architectures::rules {
namespace {

Error bad_fold(const TensorView& view, std::string what) {
  return Error(Code::kInvalidInput, std::move(what))
      .at(fmt::format("tensor {}", quoted(view.name)));
}

class Fold final : public Rule {
 public:
  Fold(RuleHead head, Template to) : Rule(std::move(head)), to_(std::move(to)) {}

  Status apply(Work& work) const override {
    std::map<std::string, TensorView> factors;
    MLXMILL_TRY(rewrite(work, [&](const Match& match, std::vector<TensorView>&) -> Status {
      if (!is_mlx_float(match.view.dtype)) {
        return bad_fold(match.view, fmt::format("it is {}; expected factors of BF16, F16 or F32",
                                                dtype_name(match.view.dtype)));
      }
      std::string name = to_.expand(match.captures);
      if (!work.tensors.has(name)) {
        return bad_fold(match.view, fmt::format("there is no tensor {} to multiply", quoted(name)));
      }
      if (!factors.emplace(std::move(name), match.view).second) {
        return bad_fold(match.view, "two tensors are factors of one");
      }
      return {};
    }));
    if (factors.empty()) return {};
    std::vector<TensorView> result = work.tensors.views();
    for (TensorView& view : result) {
      const auto found = factors.find(view.name);
      if (found == factors.end()) continue;
      MLXMILL_ASSIGN(view, product(view, found->second));
    }
    if (Status status = work.tensors.replace(std::move(result)); !status) {
      return std::move(status).error().at(where());
    }
    return {};
  }

 private:
  static Result<TensorView> product(const TensorView& view, const TensorView& factors) {
    const std::uint64_t n = base::element_count(factors.shape).value_or(0);
    const bool each =
        n > 1 && !view.shape.empty() && n == static_cast<std::uint64_t>(view.shape[0]);
    if ((n != 1 && !each) || base::element_count(view.shape).value_or(0) == 0 ||
        !is_mlx_float(view.dtype)) {
      return bad_fold(view,
                      fmt::format("it is {} {} and has {} factors; expected one, or one for each "
                                  "slice of its first axis",
                                  dtype_name(view.dtype), base::to_string(view.shape), n));
    }
    return tensors::view_of(
        view.name,
        tensors::Computed{tensors::MultiplyBy{}, view.dtype, view.shape, {view, factors}});
  }

  Template to_;
};

}  // namespace

Result<std::unique_ptr<Rule>> make_fold(RuleReader& reader) {
  MLXMILL_ASSIGN(Template to, reader.name("to"));
  return std::unique_ptr<Rule>(std::make_unique<Fold>(reader.head(), std::move(to)));
}

}  // namespace mlxmill::architectures::rules
