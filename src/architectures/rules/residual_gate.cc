// residual_gate: a gate whose weights are fixed, as what it gives the stream and the branch.
#include <fmt/format.h>

#include "architectures/rules/rules.h"
#include "tensors/view.h"

namespace mlxmill::architectures::rules {
namespace {

class ResidualGate final : public Rule {
 public:
  ResidualGate(RuleHead head, std::vector<Template> to, double temperature, double epsilon)
      : Rule(std::move(head)), to_(std::move(to)), temperature_(temperature), epsilon_(epsilon) {}

  Status apply(Work& work) const override {
    return rewrite(work, [&](const Match& match, std::vector<TensorView>& out) -> Status {
      MLXMILL_TRY(check_float(match.view));
      for (std::size_t k = 0; k < 2; ++k) {
        out.push_back(tensors::view_of(
            to_[k].expand(match.captures),
            tensors::Computed{tensors::ResidualGate{temperature_, epsilon_, k == 0},
                              DType::kF32,
                              match.view.shape,
                              {match.view}}));
      }
      return {};
    });
  }

 private:
  std::vector<Template> to_;
  double temperature_;
  double epsilon_;
};

}  // namespace

Result<std::unique_ptr<Rule>> make_residual_gate(RuleReader& reader) {
  MLXMILL_ASSIGN(std::vector<Template> to, reader.templates("to"));
  const auto number = [&](std::string_view key) -> const double* {
    const Node* node = reader.table().find(key);
    return node ? node->as_float() : nullptr;
  };
  const double* temperature = number("temperature");
  const double* epsilon = number("epsilon");
  if (to.size() != 2 || !temperature || !(*temperature > 0) || !epsilon || !(*epsilon >= 0)) {
    return reader.table().error(reader.head().line,
                                "residual_gate needs two names in to, and temperature and epsilon, "
                                "as temperature = 0.3, epsilon = 1e-3");
  }
  return std::unique_ptr<Rule>(
      std::make_unique<ResidualGate>(reader.head(), std::move(to), *temperature, *epsilon));
}

}  // namespace mlxmill::architectures::rules
