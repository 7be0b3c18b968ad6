// What a layer makes of the input that it has for itself.
#pragma once

#include "runtime/block.h"

namespace mlxmill::runtime {

class PerLayerGate {
 public:
  static Result<PerLayerGate> build(const architectures::PerLayerGateSpec& spec,
                                    const Weights& weights);
  /// x [1, length, hidden] to the same shape. Requires pass.layer_inputs.
  mx::array operator()(const mx::array& x, const Pass& pass) const;

 private:
  PerLayerGate(Linear gate, Linear projection, Activation activation)
      : gate_(std::move(gate)), projection_(std::move(projection)), activation_(activation) {}

  Linear gate_, projection_;
  Activation activation_;
};

}  // namespace mlxmill::runtime
