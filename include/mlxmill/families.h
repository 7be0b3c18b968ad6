// The model families this build can convert.
#pragma once

#include <string>
#include <vector>

#include "mlxmill/result.h"

namespace mlxmill {

struct Family {
  std::string name;
  std::vector<std::string> model_types;  ///< config.json model_type values it serves.
};

/// Built-in families by name.
Result<std::vector<Family>> families();

}  // namespace mlxmill
