// Parts that several blocks of a forward pass have: norms, rotary embeddings, activations.
#pragma once

#include <cstdint>
#include <limits>
#include <string>
#include <vector>

namespace mlxmill::architectures {

/// y = norm(x) * (weight + offset) + bias over the last axis.
struct NormSpec {
  enum class Kind : std::uint8_t { kNone, kRms, kLayer };
  Kind kind = Kind::kNone;  ///< kNone: x passes.
  std::string path;         ///< The module; empty: no weight.
  double epsilon = 1e-5;
  double offset = 0;  ///< 1 where the weight is stored as its difference from 1.

  explicit operator bool() const { return kind != Kind::kNone; }
};

enum class Activation : std::uint8_t {
  kNone,
  kSilu,
  kGelu,      ///< With the error function.
  kGeluTanh,  ///< Its approximation by tanh.
  kGeluFast,  ///< x * sigmoid(1.702 x).
  kRelu,
  kReluSquared,
  kSigmoid,
  kTanh,
  kSoftplus,
};

/// Rotary position embedding of the first `dims` elements of every head. The angle of pair k at
/// position p is p * scale / period[k].
struct RopeSpec {
  std::int64_t dims = 0;       ///< 0: no rotation.
  bool traditional = false;    ///< Pairs are neighbours, not halves.
  double base = 10000;         ///< period[k] = base^(2k / dims) where there is no table.
  double scale = 1;            ///< Below 0: the other way round.
  std::vector<float> periods;  ///< dims / 2 of them, or none.
  /// Instead of `periods` where the sequence is longer than `switch_at`.
  std::vector<float> long_periods;
  std::int64_t switch_at = std::numeric_limits<std::int64_t>::max();
  double magnitude = 1;       ///< What is rotated is multiplied by it,
  double long_magnitude = 1;  ///< or by this, where `long_periods` hold.
  /// Dynamic NTK scaling: the base grows with sequences longer than `dynamic_from`. 1: it does not.
  double dynamic_factor = 1;
  std::int64_t dynamic_from = 0;

  explicit operator bool() const { return dims > 0; }
};

}  // namespace mlxmill::architectures
