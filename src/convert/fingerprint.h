// What a conversion's output bytes depend on, as text.
#pragma once

#include <string>
#include <string_view>

#include "architectures/declaration.h"
#include "convert/conversion.h"
#include "io/hash.h"

namespace mlxmill::convert {

/// Everything the output's bytes follow from. allow_non_finite is left out: it decides whether the
/// run ends well, not what it writes.
/// `layout`: of all modules, as add_to_fingerprint() saw them.
std::string fingerprint(const Conversion& conversion, const io::Digest& layout,
                        std::string_view declaration);

/// Where a module's tensors come from.
void add_to_fingerprint(const architectures::Module& module, io::Hasher& hasher);

}  // namespace mlxmill::convert
