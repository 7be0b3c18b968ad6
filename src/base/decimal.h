// Decimal spellings of floats.
#pragma once

#include <string>

namespace mlxmill::base {

/// The double nearest to a spelling such as "5.656854249492381" or "1e-05", whatever the user's
/// locale; too large is infinite, too small is 0. Requires a number as JSON spells it.
double parse_decimal(const std::string& spelling);

}  // namespace mlxmill::base
