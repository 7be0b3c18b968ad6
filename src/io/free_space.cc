#include "io/free_space.h"

#include <fmt/format.h>
#include <sys/stat.h>
#include <sys/statvfs.h>

#include <array>
#include <cerrno>
#include <system_error>

#include "io/file.h"

namespace mlxmill::io {

Result<std::uint64_t> free_space(const std::filesystem::path& path) {
  std::error_code ignored;
  std::filesystem::path existing = std::filesystem::absolute(path, ignored);
  while (!std::filesystem::exists(existing, ignored) && existing.has_relative_path())
    existing = existing.parent_path();
  struct statvfs status {};
  if (::statvfs(existing.c_str(), &status) != 0)
    return system_error(errno, "cannot ask for free space", existing);
  return static_cast<std::uint64_t>(status.f_bavail) * static_cast<std::uint64_t>(status.f_frsize);
}

std::uint64_t allocated_bytes(const std::filesystem::path& folder) {
  std::uint64_t total = 0;
  std::error_code error;
  auto it = std::filesystem::recursive_directory_iterator(folder, error);
  const auto add = [&](const std::filesystem::path& path) {
    struct stat status {};
    // POSIX counts st_blocks in units of 512 bytes on every system this runs on.
    if (::lstat(path.c_str(), &status) == 0)
      total += static_cast<std::uint64_t>(status.st_blocks) * 512;
  };
  if (error) add(folder);
  for (; !error && it != std::filesystem::recursive_directory_iterator(); it.increment(error)) {
    add(it->path());
  }
  return total;
}

std::string format_bytes(std::uint64_t bytes) {
  static constexpr std::array<const char*, 5> kUnits = {"kB", "MB", "GB", "TB", "PB"};
  if (bytes < 1000) return fmt::format("{} B", bytes);
  double value = static_cast<double>(bytes) / 1000;
  std::size_t unit = 0;
  while (value >= 999.995 && unit + 1 < kUnits.size()) {
    value /= 1000;
    ++unit;
  }
  return fmt::format("{:.2f} {}", value, kUnits[unit]);
}

}  // namespace mlxmill::io
