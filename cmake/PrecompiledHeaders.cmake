# precompile_headers(TARGET KIND)
#
# Lets TARGET start from headers that are parsed once: of KIND `rooms`, `optimised`, `tests`, `program` or `mlx`. Reading
# the standard library is half of what a file costs clang with sanitizers; GCC 12 gains little, and then warns of
# std::string's own code. Sources still include what they use: the other builds find what is missing.
option(MLXMILL_PCH "Precompile the headers of the standard library, libfmt and GoogleTest" OFF)

# Without <filesystem>: it brings <iomanip>, whose std::quoted is found beside ours wherever a std::string is quoted.
set(pch_of_rooms
  <algorithm> <array> <atomic> <bit> <charconv> <chrono> <cmath> <cstddef> <cstdint> <cstring> <functional> <limits> <map>
  <memory> <mutex> <numeric> <optional> <set> <span> <string> <string_view> <system_error> <utility> <variant> <vector>
  <fmt/format.h>)
set(pch_of_optimised ${pch_of_rooms})
set(pch_of_tests ${pch_of_rooms} <gmock/gmock.h> <gtest/gtest.h>)
set(pch_of_program ${pch_of_rooms} <CLI/CLI.hpp>)
set(pch_of_mlx ${pch_of_rooms} <mlx/mlx.h>)

# One set of headers is compiled once and shared by all targets of its kind, which therefore have the same flags.
function(precompile_headers target kind)
  # A compiler cache does more, and would have to be told how to treat these.
  if(NOT MLXMILL_PCH OR CMAKE_CXX_COMPILER_LAUNCHER)
    return()
  endif()
  get_property(owner GLOBAL PROPERTY MLXMILL_PCH_${kind})
  if(owner)
    target_precompile_headers(${target} REUSE_FROM ${owner})
  else()
    target_precompile_headers(${target} PRIVATE ${pch_of_${kind}})
    set_property(GLOBAL PROPERTY MLXMILL_PCH_${kind} ${target})
  endif()
endfunction()
