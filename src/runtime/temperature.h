// Queries that grow with their position (architectures::TemperatureSpec).
#pragma once

#include "runtime/block.h"

namespace mlxmill::runtime {

/// q [1, heads, length, size] at the pass's positions. Source: Llama 4, attention temperature
/// tuning.
inline mx::array tempered(const mx::array& q, const architectures::TemperatureSpec& spec,
                          const Pass& pass) {
  if (spec.scale == 0) return q;
  const auto number = [](double value) { return mx::array(static_cast<float>(value)); };
  mx::array at = mx::arange(pass.offset, pass.offset + pass.length, mx::float32);
  at = mx::floor(mx::divide(mx::add(at, number(spec.from)), number(spec.every)));
  at = mx::add(mx::multiply(mx::log1p(at), number(spec.scale)), number(1));
  return mx::multiply(q, mx::astype(mx::reshape(at, {1, 1, pass.length, 1}), q.dtype()));
}

}  // namespace mlxmill::runtime
