// Weights that a source holds as codes: which are kept, and how config.json tells of them.
#pragma once

#include <cstddef>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "architectures/declaration.h"
#include "base/value.h"
#include "mlxmill/scheme.h"
#include "quantize/recipe.h"

namespace mlxmill::convert {

using Decisions = std::vector<std::pair<std::string, quantize::Decision>>;

/// Whether the run may do to the model what it was asked for. Errors: kUnsupported.
Status check_quantizable(const architectures::Layout& layout, bool quantizes, bool dequantizes);

/// Whether its codes have a factor for each expert: nvfp4's global_scale.
bool has_global_scale(const architectures::Module& module);

/// A packed module as a float one: its weight is decoded when it is read.
architectures::Module unpacked(const architectures::Module& module);

/// Packed modules that are to be quantized anew. While they are decided about they are floats;
/// those that come out as they were are put back, so that nothing is rounded twice for nothing.
class Requantized {
 public:
  /// Takes every packed module of `modules` apart.
  explicit Requantized(std::vector<architectures::Module>& modules);
  /// Puts modules back whose decision is what they were. Returns how many are rounded a second
  /// time.
  std::size_t settle(std::vector<architectures::Module>& modules, const Decisions& decisions) const;

 private:
  std::vector<std::pair<std::size_t, architectures::Module>> originals_;
};

/// config.json's `quantization` for a source of another format some of whose codes were kept: `own`
/// as mlx-lm writes it for the method when that says what most modules have, then an entry for
/// every module that differs from it or was quantized now (`run`: the run's scheme). Null when
/// nothing is packed.
base::Value kept_quantization(const std::vector<architectures::Module>& modules,
                              const Decisions& decisions, const base::Value& own,
                              const std::optional<Scheme>& run);

/// What a float weight was coded as, where MLX could not hold those codes.
std::optional<Scheme> quantized_before(const architectures::Module& module);

}  // namespace mlxmill::convert
