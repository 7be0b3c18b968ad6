// Norms, activations and rotations over arrays.
#pragma once

#include <optional>

#include "architectures/forward/parts.h"
#include "runtime/linear.h"
#include "runtime/primitives/decoder.h"

namespace mlxmill::runtime {

using architectures::Activation;
using architectures::NormSpec;
using architectures::RopeSpec;

/// A norm with its weights, the offset added to them.
struct Norm {
  NormSpec::Kind kind = NormSpec::Kind::kNone;
  float epsilon = 1e-5F;
  std::optional<mx::array> weight;
  std::optional<mx::array> bias;

  explicit operator bool() const { return kind != NormSpec::Kind::kNone; }
  mx::array operator()(const mx::array& x) const;
};

mx::array activate(Activation activation, const mx::array& x);

/// activation(gate) * up; with a limit above 0 the activation is at most that and up within it.
mx::array gated(Activation activation, const mx::array& gate, const mx::array& up,
                double limit = 0);

/// gpt-oss's form: gate at most `clamp` and up within it, gate * sigmoid(alpha gate) * (up + 1).
mx::array gated_clamped(const mx::array& gate, const mx::array& up, double clamp, double alpha);

/// a + b.
mx::array sum(const mx::array& a, const mx::array& b);

/// cap * tanh(x / cap).
mx::array softcap(const mx::array& x, double cap);

/// A number as an array of x's dtype, so that it does not widen x.
mx::array scalar(double value, const mx::array& x);

/// Rotates the heads of a sequence by their positions.
class Rope {
 public:
  explicit Rope(const RopeSpec& spec);

  /// x [batch, heads, length, head size], whose first position is `offset`.
  mx::array operator()(const mx::array& x, int offset) const;

 private:
  RopeSpec spec_;
  // Of `periods_` or the base, and of `long_periods_`, for the CPU.
  std::shared_ptr<const RotationTable> table_, long_table_;
  std::optional<mx::array> periods_;
  std::optional<mx::array> long_periods_;
};

}  // namespace mlxmill::runtime
