// What the operating system says about this process.
#pragma once

#include <cstdint>

namespace mlxmill::base {

/// Largest resident set so far in bytes; 0 where unknown.
std::uint64_t peak_memory();

}  // namespace mlxmill::base
