// What the operating system says about this process.
#pragma once

#include <cstdint>

namespace mlxmill::base {

/// Largest resident set so far in bytes; 0 where unknown.
std::uint64_t peak_memory();

/// Bytes this process could still take without pushing others out; on a Mac what its GPU may hold.
/// Limits of a container count. 0 where unknown.
std::uint64_t available_memory();

}  // namespace mlxmill::base
