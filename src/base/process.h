// What the operating system says about this process.
#pragma once

#include <cstdint>
#include <string>

namespace mlxmill::base {

/// Largest resident set so far in bytes; 0 where unknown.
std::uint64_t peak_memory();

/// Bytes this process could still take without pushing others out; on a Mac what its GPU may hold.
/// Limits of a container count. 0 where unknown.
std::uint64_t available_memory();

/// What a machine has for a model and its cache.
struct MachineMemory {
  std::uint64_t total_bytes = 0;   ///< 0 where unknown.
  std::uint64_t usable_bytes = 0;  ///< By one program: on a Mac what its GPU may hold.
  std::string source;              ///< Who says so, for people.
};

/// Gives memory that was freed in small pieces back to the system: an allocator keeps it otherwise,
/// and what comes next is added to it. Costs about a millisecond for each 10 MB.
void return_free_memory();

/// This machine: on a Mac its unified memory and the wired limit, else its RAM or what a container
/// allows. Whatever else runs is not counted.
MachineMemory machine_memory();

/// A Mac with so much unified memory, as it comes: the GPU may hold two thirds of up to 36 GiB and
/// three quarters of more (Metal's recommendedMaxWorkingSetSize, as measured by others).
MachineMemory mac_memory(std::uint64_t total_bytes);

}  // namespace mlxmill::base
