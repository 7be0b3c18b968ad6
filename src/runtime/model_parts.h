// What stands behind the handles of mlxmill/run.h.
#pragma once

#include <string>

#include "mlxmill/run.h"
#include "runtime/network.h"

namespace mlxmill {

struct Model::Parts {
  ModelFacts facts;
  std::function<bool()> cancelled;
  std::size_t prefill_step_size = 512;
  runtime::StateOptions state_options;
  /// Tells caches of other models and options apart.
  std::string fingerprint;
  runtime::Network network;
};

struct ModelCache::Parts {
  runtime::States states;
  std::int64_t length = 0;
};

}  // namespace mlxmill
