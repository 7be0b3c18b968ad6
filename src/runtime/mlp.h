// Gated and plain MLPs, for single experts and as they are.
#pragma once

#include "architectures/forward/blocks.h"
#include "runtime/weights.h"

namespace mlxmill::runtime {

/// What the halves of a gated MLP become before its last layer, as its spec says.
mx::array gated(const architectures::MlpSpec& spec, const mx::array& gate, const mx::array& up);

class Mlp {
 public:
  static Result<Mlp> build(const architectures::MlpSpec& spec, const Weights& weights);
  mx::array operator()(const mx::array& x) const;

 private:
  Mlp(architectures::MlpSpec spec, Linear down) : spec_(std::move(spec)), down_(std::move(down)) {}

  mx::array sparse(const mx::array& gate) const;
  mx::array xielu(const mx::array& x) const;

  architectures::MlpSpec spec_;
  std::optional<Linear> gate_, up_, gate_up_;
  Linear down_;
  std::vector<mx::array> xielu_;    ///< alpha_p, alpha_n (both as they multiply), beta, eps.
  std::optional<double> quantile_;  ///< Of the normal distribution, where the gate is sparse.
};

}  // namespace mlxmill::runtime
