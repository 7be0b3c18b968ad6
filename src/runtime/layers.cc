#include "runtime/layers.h"

#include <algorithm>
#include <cmath>
#include <numbers>

namespace mlxmill::runtime {

mx::array scalar(double value, const mx::array& x) {
  return mx::array(static_cast<float>(value), x.dtype());
}

namespace {

/// Whether a weight is one number of x's type for each column.
bool fits(const mx::array& weight, const mx::array& x) {
  return weight.dtype() == x.dtype() && weight.size() == static_cast<std::size_t>(x.shape(-1));
}

}  // namespace

mx::array Norm::operator()(const mx::array& x) const {
  switch (kind) {
    case NormSpec::Kind::kNone:
      return x;
    case NormSpec::Kind::kRms:
      if (weight && weight->ndim() > 1) {
        return mx::multiply(mx::fast::rms_norm(x, std::nullopt, epsilon), *weight);
      }
      if (computes_on_cpu(x) && (!weight || fits(*weight, x))) {
        return rms_norm_on_cpu(x, weight, epsilon);
      }
      return mx::fast::rms_norm(x, weight, epsilon);
    case NormSpec::Kind::kLayer:
      break;
  }
  if (weight && weight->ndim() > 1) {
    const mx::array y =
        mx::multiply(mx::fast::layer_norm(x, std::nullopt, std::nullopt, epsilon), *weight);
    return bias ? mx::add(y, *bias) : y;
  }
  return mx::fast::layer_norm(x, weight, bias, epsilon);
}

mx::array sum(const mx::array& a, const mx::array& b) {
  const bool alike = a.shape() == b.shape() && a.dtype() == b.dtype();
  return alike && computes_on_cpu(a) ? add_on_cpu(a, b) : mx::add(a, b);
}

mx::array softcap(const mx::array& x, double cap) {
  return mx::multiply(mx::tanh(mx::divide(x, scalar(cap, x))), scalar(cap, x));
}

namespace {

mx::array gelu(const mx::array& x) {
  const mx::array error = mx::erf(mx::multiply(x, scalar(1 / std::numbers::sqrt2, x)));
  return mx::multiply(mx::multiply(x, scalar(0.5, x)), mx::add(error, scalar(1, x)));
}

mx::array gelu_tanh(const mx::array& x) {
  const mx::array cube = mx::multiply(mx::multiply(mx::square(x), x), scalar(0.044715, x));
  const mx::array inner =
      mx::multiply(mx::add(x, cube), scalar(std::sqrt(2 / std::numbers::pi), x));
  return mx::multiply(mx::multiply(x, scalar(0.5, x)), mx::add(mx::tanh(inner), scalar(1, x)));
}

}  // namespace

mx::array activate(Activation activation, const mx::array& x) {
  switch (activation) {
    case Activation::kNone:
      return x;
    case Activation::kSilu:
      return mx::multiply(x, mx::sigmoid(x));
    case Activation::kGelu:
      return gelu(x);
    case Activation::kGeluTanh:
      return gelu_tanh(x);
    case Activation::kGeluFast:
      return mx::multiply(x, mx::sigmoid(mx::multiply(x, scalar(1.702, x))));
    case Activation::kRelu:
      return mx::maximum(x, scalar(0, x));
    case Activation::kReluSquared:
      return mx::square(mx::maximum(x, scalar(0, x)));
    case Activation::kSigmoid:
      return mx::sigmoid(x);
    case Activation::kTanh:
      return mx::tanh(x);
    case Activation::kSoftplus:
      return mx::logaddexp(x, scalar(0, x));
  }
  return x;
}

mx::array gated(Activation activation, const mx::array& gate, const mx::array& up, double limit) {
  if (limit > 0) {
    const mx::array high = scalar(limit, gate);
    return mx::multiply(mx::minimum(activate(activation, gate), high),
                        mx::clip(up, scalar(-limit, up), high));
  }
  if (computes_on_cpu(gate) && gate.shape() == up.shape() && gate.dtype() == up.dtype()) {
    if (activation == Activation::kSilu) return gate_on_cpu(kernels::GateKind::kSilu, gate, up);
    if (activation == Activation::kGeluTanh) {
      return gate_on_cpu(kernels::GateKind::kGeluTanh, gate, up);
    }
  }
  return mx::multiply(activate(activation, gate), up);
}

mx::array gated_clamped(const mx::array& gate, const mx::array& up, double clamp, double alpha) {
  const mx::array high = scalar(clamp, gate);
  const mx::array g = mx::minimum(gate, high);
  const mx::array u = mx::clip(up, scalar(-clamp, up), high);
  const mx::array silu = mx::multiply(g, mx::sigmoid(mx::multiply(g, scalar(alpha, g))));
  return mx::multiply(silu, mx::add(u, scalar(1, u)));
}

namespace {

std::shared_ptr<const RotationTable> rotation_table(const RopeSpec& spec,
                                                    const std::vector<float>& periods,
                                                    double base) {
  auto table = std::make_shared<RotationTable>();
  table->traditional = spec.traditional;
  const auto pairs = static_cast<std::size_t>(spec.dims / 2);
  for (std::size_t k = 0; k < (periods.empty() ? pairs : std::min(pairs, periods.size())); ++k) {
    const double exponent = 2.0 * static_cast<double>(k) / static_cast<double>(spec.dims);
    const double period = periods.empty() ? std::pow(base, exponent) : double{periods[k]};
    table->frequencies.push_back(static_cast<float>(spec.scale / period));
  }
  return table;
}

}  // namespace

Rope::Rope(const RopeSpec& spec) : spec_(spec) {
  const auto table = [](const std::vector<float>& periods) {
    return mx::array(periods.begin(), {static_cast<int>(periods.size())}, mx::float32);
  };
  if (!spec.periods.empty()) periods_ = table(spec.periods);
  if (!spec.long_periods.empty()) long_periods_ = table(spec.long_periods);
  if (spec) table_ = rotation_table(spec, spec.periods, spec.base);
  if (long_periods_) long_table_ = rotation_table(spec, spec.long_periods, spec.base);
}

mx::array Rope::operator()(const mx::array& x, int offset) const {
  if (!spec_) return x;
  const auto dims = static_cast<int>(spec_.dims);
  const std::int64_t length = std::int64_t{offset} + x.shape(-2);
  const bool is_long = long_periods_ && length > spec_.switch_at;
  const std::optional<mx::array>& periods = is_long ? long_periods_ : periods_;
  std::optional<float> base;
  if (!periods) base = static_cast<float>(spec_.base);
  if (spec_.dynamic_factor > 1 && length > spec_.dynamic_from) {
    const double growth = spec_.dynamic_factor * static_cast<double>(length) /
                              static_cast<double>(spec_.dynamic_from) -
                          (spec_.dynamic_factor - 1);
    base = static_cast<float>(spec_.base * std::pow(growth, dims / (dims - 2.0)));
  }
  mx::array y = x;
  if (computes_on_cpu(x) && x.ndim() == 4 && x.shape(0) == 1 && dims % 2 == 0 &&
      dims <= x.shape(-1)) {
    const bool grown = base && *base != static_cast<float>(spec_.base);
    const auto table =
        grown ? rotation_table(spec_, {}, double{*base}) : (is_long ? long_table_ : table_);
    y = rotate_on_cpu(x, table, offset);
  } else {
    y = mx::fast::rope(x, dims, spec_.traditional, base, static_cast<float>(spec_.scale), offset,
                       periods);
  }
  const double magnitude = is_long ? spec_.long_magnitude : spec_.magnitude;
  if (magnitude == 1) return y;
  if (dims == x.shape(-1)) return mx::multiply(y, scalar(magnitude, y));
  const std::vector<mx::array> parts = mx::split(y, mx::Shape{dims}, -1);
  return mx::concatenate({mx::multiply(parts[0], scalar(magnitude, y)), parts[1]}, -1);
}

}  // namespace mlxmill::runtime
