// add, multiply, normalize, log_of_negative: arithmetic on every element, rounded to the dtype the
// tensor is stored in.
#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "architectures/rules/rules.h"
#include "tensors/view.h"

namespace mlxmill::architectures::rules {
namespace {

using tensors::Computed;

/// Factors along an axis; more would be no model's.
constexpr std::int64_t kMaxFactors = 1 << 24;

Error bad(const TensorView& view, std::string what) {
  return Error(Code::kInvalidInput, std::move(what))
      .at(fmt::format("tensor {}", quoted(view.name)));
}

/// A finite number, or nothing.
std::optional<double> number(const base::Value& value) {
  if (const std::int64_t* integer = value.as_int()) return static_cast<double>(*integer);
  if (const double* real = value.as_float(); real && std::isfinite(*real)) return *real;
  return std::nullopt;
}

TensorView compute(const TensorView& view, tensors::Operation operation) {
  return tensors::view_of(view.name,
                          Computed{std::move(operation), view.dtype, view.shape, {view}});
}

/// Every element in another type.
TensorView as(const TensorView& view, DType dtype) {
  if (view.dtype == dtype) return view;
  return tensors::view_of(view.name, Computed{tensors::Cast{}, dtype, view.shape, {view}});
}

/// In the dtype of the view, rounding after every step as mlx-lm does; or in float32, rounding
/// once.
TensorView product(const TensorView& view, tensors::Operation operation, bool exact) {
  if (!exact) return compute(view, std::move(operation));
  return as(compute(as(view, DType::kF32), std::move(operation)), view.dtype);
}

class Add final : public Rule {
 public:
  Add(RuleHead head, Expression value) : Rule(std::move(head)), value_(std::move(value)) {}

  Status apply(Work& work) const override {
    return rewrite(work, [&](const Match& match, std::vector<TensorView>& out) -> Status {
      MLXMILL_TRY(check_float(match.view));
      MLXMILL_ASSIGN(const base::Value value, value_.evaluate(match.scope));
      const auto addend = number(value);
      if (!addend) {
        return bad(match.view,
                   fmt::format("\"value\" is {}; expected a number", value.type_name()));
      }
      out.push_back(work.exact_norms
                        ? compute(as(match.view, DType::kF32), tensors::AddConstant{*addend})
                        : compute(match.view, tensors::AddConstant{*addend}));
      out.back().keeps_dtype = work.exact_norms;
      return {};
    });
  }

 private:
  Expression value_;
};

class Multiply final : public Rule {
 public:
  Multiply(RuleHead head, Expression by, std::optional<std::int64_t> axis,
           std::vector<Expression> sizes)
      : Rule(std::move(head)), by_(std::move(by)), axis_(axis), sizes_(std::move(sizes)) {}

  Status apply(Work& work) const override {
    return rewrite(work, [&](const Match& match, std::vector<TensorView>& out) -> Status {
      MLXMILL_TRY(check_float(match.view));
      MLXMILL_ASSIGN(const base::Value value, by_.evaluate(match.scope));
      if (axis_) return along(match, value, work.exact_norms, out);
      const auto factor = number(value);
      if (!factor) {
        return bad(match.view, fmt::format("\"by\" is {}; expected a number", value.type_name()));
      }
      out.push_back(product(match.view, tensors::MultiplyConstant{*factor}, work.exact_norms));
      return {};
    });
  }

 private:
  /// One factor for each of consecutive parts of the axis.
  Status along(const Match& match, const base::Value& value, bool exact,
               std::vector<TensorView>& out) const {
    MLXMILL_ASSIGN(const std::size_t axis, axis_of(match.view, *axis_));
    const base::Array* factors = value.as_array();
    if (!factors || factors->size() != sizes_.size()) {
      return bad(match.view,
                 fmt::format("\"by\" is {}; expected a list of {} numbers, one for each "
                             "of \"sizes\"",
                             value.type_name(), sizes_.size()));
    }
    const std::int64_t extent = match.view.shape[axis];
    std::vector<float> values;
    for (std::size_t k = 0; k < sizes_.size(); ++k) {
      MLXMILL_ASSIGN(const std::int64_t size, sizes_[k].integer(match.scope));
      const auto factor = number((*factors)[k]);
      const std::int64_t room =
          std::min(extent, kMaxFactors) - static_cast<std::int64_t>(values.size());
      if (!factor || size < 0 || size > room) {
        return bad(match.view, fmt::format("factor {} does not fit axis {} of {}", k, axis,
                                           base::to_string(match.view.shape)));
      }
      values.insert(values.end(), static_cast<std::size_t>(size), static_cast<float>(*factor));
    }
    if (static_cast<std::int64_t>(values.size()) != extent) {
      return bad(match.view,
                 fmt::format("\"sizes\" come to {}; expected {}, its extent along axis {}",
                             values.size(), extent, axis));
    }
    out.push_back(product(match.view, tensors::MultiplyAlong{axis, std::move(values)}, exact));
    return {};
  }

  Expression by_;
  std::optional<std::int64_t> axis_;
  std::vector<Expression> sizes_;
};

class Normalize final : public Rule {
 public:
  Normalize(RuleHead head, std::int64_t axis, double epsilon)
      : Rule(std::move(head)), axis_(axis), epsilon_(epsilon) {}

  Status apply(Work& work) const override {
    return rewrite(work, [&](const Match& match, std::vector<TensorView>& out) -> Status {
      MLXMILL_TRY(check_float(match.view));
      MLXMILL_ASSIGN(const std::size_t axis, axis_of(match.view, axis_));
      out.push_back(compute(match.view, tensors::Normalize{axis, epsilon_}));
      return {};
    });
  }

 private:
  std::int64_t axis_;
  double epsilon_;
};

class LogOfNegative final : public Rule {
 public:
  explicit LogOfNegative(RuleHead head) : Rule(std::move(head)) {}

  Status apply(Work& work) const override {
    return rewrite(work, [](const Match& match, std::vector<TensorView>& out) -> Status {
      MLXMILL_TRY(check_float(match.view));
      out.push_back(compute(match.view, tensors::LogOfNegative{}));
      return {};
    });
  }
};

}  // namespace

Result<std::unique_ptr<Rule>> make_add(RuleReader& reader) {
  MLXMILL_ASSIGN(auto value, reader.expression("value"));
  if (!value) return reader.table().error(reader.head().line, "add has no value");
  return std::unique_ptr<Rule>(std::make_unique<Add>(reader.head(), *std::move(value)));
}

Result<std::unique_ptr<Rule>> make_multiply(RuleReader& reader) {
  MLXMILL_ASSIGN(auto by, reader.expression("by"));
  MLXMILL_ASSIGN(const auto axis, reader.integer("axis"));
  MLXMILL_ASSIGN(std::vector<Expression> sizes, reader.expressions("sizes"));
  if (!by || axis.has_value() == sizes.empty()) {
    return reader.table().error(
        reader.head().line,
        "multiply needs by = a number, or by = a list of numbers with axis and sizes");
  }
  return std::unique_ptr<Rule>(
      std::make_unique<Multiply>(reader.head(), *std::move(by), axis, std::move(sizes)));
}

Result<std::unique_ptr<Rule>> make_log_of_negative(RuleReader& reader) {
  return std::unique_ptr<Rule>(std::make_unique<LogOfNegative>(reader.head()));
}

Result<std::unique_ptr<Rule>> make_normalize(RuleReader& reader) {
  MLXMILL_ASSIGN(const auto axis, reader.integer("axis"));
  const Node* node = reader.table().find("epsilon");
  const double* epsilon = node ? node->as_float() : nullptr;
  if (!axis || !epsilon || !(*epsilon >= 0)) {
    return reader.table().error(reader.head().line,
                                "normalize needs axis and epsilon, as axis = -1, epsilon = 1e-7");
  }
  return std::unique_ptr<Rule>(std::make_unique<Normalize>(reader.head(), *axis, *epsilon));
}

}  // namespace mlxmill::architectures::rules
