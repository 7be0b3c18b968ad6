// Text from files in messages.
#pragma once

#include <string>
#include <string_view>

namespace mlxmill::base {

/// Quotes text from a file for a message: printable, at most 160 characters.
std::string quoted(std::string_view text);

}  // namespace mlxmill::base
