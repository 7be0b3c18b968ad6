// A model that no family serves, described so that a person can declare it.
#pragma once

#include <span>

#include "architectures/declaration.h"
#include "mlxmill/error.h"

namespace mlxmill::architectures {

/// `error` of Catalogue::find() with what was found: kinds of tensors, their numbers folded to {l}
/// and {e}, and the keys of config.json.
Error unknown_model(Error error, const base::Value& config, std::span<const TensorView> tensors);

}  // namespace mlxmill::architectures
