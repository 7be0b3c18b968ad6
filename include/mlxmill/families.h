// The model families this build can convert.
#pragma once

#include <string>
#include <vector>

#include "mlxmill/result.h"

namespace mlxmill {

struct Family {
  std::string name;
  std::vector<std::string> model_types;  ///< config.json model_type values it serves.
  /// It serves only configs whose `architectures` names one of these; empty: all of its types.
  std::vector<std::string> architectures;
  /// What its declaration says in a few words each: "experts", "tied output", "own bits", ...
  std::vector<std::string> features;
  /// Architectures of GGUF files (general.architecture) that become it.
  std::vector<std::string> gguf;
};

/// Built-in families by name.
Result<std::vector<Family>> families();

}  // namespace mlxmill
