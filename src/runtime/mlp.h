// Gated and plain MLPs, for single experts and as they are.
#pragma once

#include "architectures/forward/blocks.h"
#include "runtime/weights.h"

namespace mlxmill::runtime {

class Mlp {
 public:
  static Result<Mlp> build(const architectures::MlpSpec& spec, const Weights& weights);
  mx::array operator()(const mx::array& x) const;

 private:
  Mlp(Linear down, Activation activation) : down_(std::move(down)), activation_(activation) {}

  std::optional<Linear> gate_, up_, gate_up_;
  Linear down_;
  bool up_first_ = false;
  Activation activation_;
  mx::array sparse(const mx::array& gate) const;
  mx::array xielu(const mx::array& x) const;
  std::vector<mx::array> xielu_;  ///< alpha_p, alpha_n (both as they multiply), beta, eps.
  mx::array combined(const mx::array& gate, const mx::array& up) const;
  double limit_ = 0;
  double clamp_ = 0;  ///< With alpha_, as in MlpSpec.
  double alpha_ = 0;
  std::optional<double> quantile_;  ///< Of the normal distribution, where the gate is sparse.
};

}  // namespace mlxmill::runtime
