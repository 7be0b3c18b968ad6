// The `quantization` object of an MLX model's config.json.
#pragma once

#include <map>
#include <optional>
#include <string>

#include "base/value.h"
#include "mlxmill/result.h"
#include "mlxmill/scheme.h"

namespace mlxmill::formats {

/// `{"group_size": 64, "bits": 4, "mode": "affine", "path.of.module": {...} | false, ...}`.
struct QuantizationConfig {
  Scheme scheme;  ///< For modules without an entry.
  std::map<std::string, std::optional<Scheme>, std::less<>>
      entries;  ///< Empty: the module is not quantized.

  /// The scheme of one module; empty when an entry says false.
  std::optional<Scheme> for_module(const std::string& path) const;
};

/// Reads config["quantization"]; nothing when the model is not MLX-quantized.
/// Errors: kInvalidInput when it is malformed or names a scheme that does not exist.
Result<std::optional<QuantizationConfig>> read_quantization_config(const base::Value& config);

}  // namespace mlxmill::formats
