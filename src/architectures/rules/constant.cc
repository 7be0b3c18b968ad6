// constant: a tensor of one number that config.json holds and no file does.
#include <fmt/format.h>

#include <cmath>

#include "architectures/rules/rules.h"
#include "tensors/view.h"

namespace mlxmill::architectures::rules {
namespace {

class Constant final : public Rule {
 public:
  Constant(RuleHead head, Template to, Expression value)
      : Rule(std::move(head)), to_(std::move(to)), value_(std::move(value)) {}

  Status apply(Work& work) const override {
    return rewrite(work, [&](const Match& match, std::vector<TensorView>& out) -> Status {
      MLXMILL_ASSIGN(const base::Value value, value_.evaluate(match.scope));
      const double* real = value.as_float();
      const std::int64_t* integer = value.as_int();
      const double number = real ? *real : integer ? static_cast<double>(*integer) : NAN;
      if (!std::isfinite(number)) {
        return Error(Code::kInvalidInput,
                     fmt::format("\"value\" is {}; expected a finite number", value.type_name()))
            .at(fmt::format("tensor {}", quoted(match.view.name)));
      }
      out.push_back(match.view);
      out.push_back(tensors::view_of(
          to_.expand(match.captures),
          tensors::Computed{
              tensors::Constant{static_cast<float>(number)}, DType::kF32, base::Shape{}, {}}));
      return {};
    });
  }

 private:
  Template to_;
  Expression value_;
};

}  // namespace

Result<std::unique_ptr<Rule>> make_constant(RuleReader& reader) {
  MLXMILL_ASSIGN(Template to, reader.name("to"));
  MLXMILL_ASSIGN(auto value, reader.expression("value"));
  if (!value) return reader.table().error(reader.head().line, "constant has no value");
  return std::unique_ptr<Rule>(
      std::make_unique<Constant>(reader.head(), std::move(to), *std::move(value)));
}

}  // namespace mlxmill::architectures::rules
