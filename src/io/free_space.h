// Disk space.
#pragma once

#include <cstdint>
#include <filesystem>

#include "mlxmill/result.h"

namespace mlxmill::io {

/// Bytes this user may still write where `path` lies (or its nearest existing parent).
Result<std::uint64_t> free_space(const std::filesystem::path& path);

/// Bytes the files below `folder`, or a file, take on the disk already (holes do not count); 0 when
/// it does not exist.
std::uint64_t allocated_bytes(const std::filesystem::path& folder);

/// For people: "4.50 GB" (powers of 1000).
std::string format_bytes(std::uint64_t bytes);

}  // namespace mlxmill::io
