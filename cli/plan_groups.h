// A plan's modules, gathered into the few lines a person reads.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "mlxmill/convert.h"

namespace mlxmill::cli {

/// Modules that are stored one way.
struct CodingGroup {
  std::string coding;            ///< "affine 4-bit, groups of 64", or the dtype "BF16".
  std::optional<Scheme> scheme;  ///< Empty: not quantized.
  std::uint64_t modules = 0;
  std::uint64_t parameters = 0;
  std::uint64_t bytes = 0;
};

/// Modules that stay unquantized for one reason.
struct KeptGroup {
  std::string what;    ///< "norm", or the modules' own name: "gate".
  std::string reason;  ///< Empty for parameters that are never quantized.
  std::uint64_t modules = 0;
  std::vector<std::string> paths;
};

/// The module a tensor belongs to: its path, and the position in `plan.modules`.
class ModuleIndex {
 public:
  explicit ModuleIndex(const Plan& plan);

  /// Null when no module holds the tensor.
  const PlannedModule* find(const std::string& tensor) const;

 private:
  std::map<std::string, const PlannedModule*> by_path_;
};

/// How the model is coded, the largest group first.
std::vector<CodingGroup> coding_groups(const Plan& plan);

/// What stays unquantized and why, in order of first appearance. Empty when nothing is quantized.
std::vector<KeptGroup> kept_groups(const Plan& plan);

/// "13 norms"; "24 gate: rows of 96 not divisible by 64".
std::string describe(const KeptGroup& group);

}  // namespace mlxmill::cli
