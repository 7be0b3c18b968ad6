// README.md of the output.
#pragma once

#include <optional>
#include <string>

#include "convert/conversion.h"
#include "mlxmill/scheme.h"

namespace mlxmill::convert {

/// The model card of a planned conversion; `scheme` is the run's, empty without quantization. What
/// the source's own card says about licence and language is kept.
std::string output_card(const Conversion& conversion, const std::optional<Scheme>& scheme);

}  // namespace mlxmill::convert
