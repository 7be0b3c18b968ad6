// What a conversion's output bytes depend on, as text.
#pragma once

#include <string>
#include <string_view>

#include "architectures/declaration.h"
#include "convert/conversion.h"

namespace mlxmill::convert {

/// Everything the output's bytes follow from. allow_non_finite is left out: it decides whether the
/// run ends well, not what it writes.
std::string fingerprint(const Conversion& conversion, const architectures::Layout& layout,
                        std::string_view declaration);

}  // namespace mlxmill::convert
