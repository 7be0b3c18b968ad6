#include <algorithm>
#include <fstream>
#include <limits>
#include <string>

#include "base/process.h"

#if defined(__APPLE__)
#include <sys/sysctl.h>
#endif

namespace mlxmill::base {

#if defined(__APPLE__)

std::uint64_t available_memory() {
  std::uint64_t bytes = 0;
  std::size_t size = sizeof(bytes);
  if (::sysctlbyname("hw.memsize", &bytes, &size, nullptr, 0) != 0) return 0;
  // Metal's recommended working set is three quarters where nothing else was set.
  return bytes / 4 * 3;
}

#else

namespace {

constexpr std::uint64_t kUnlimited = std::numeric_limits<std::uint64_t>::max();

/// The number in a file of one; kUnlimited for "max" or no such file.
std::uint64_t number_in(const char* path) {
  std::ifstream file(path);
  std::uint64_t value = 0;
  return file >> value ? value : kUnlimited;
}

/// "MemAvailable:   123 kB" of /proc/meminfo, in bytes.
std::uint64_t machine_memory() {
  std::ifstream file("/proc/meminfo");
  std::string key;
  std::uint64_t kilobytes = 0;
  std::string unit;
  while (file >> key >> kilobytes) {
    std::getline(file, unit);
    if (key == "MemAvailable:") return kilobytes * 1024;
  }
  return 0;
}

}  // namespace

std::uint64_t available_memory() {
  const std::uint64_t machine = machine_memory();
  const std::uint64_t limit = number_in("/sys/fs/cgroup/memory.max");
  const std::uint64_t used = number_in("/sys/fs/cgroup/memory.current");
  if (limit == kUnlimited || used == kUnlimited) return machine;
  const std::uint64_t left = limit > used ? limit - used : 0;
  return machine == 0 ? left : std::min(machine, left);
}

#endif

}  // namespace mlxmill::base
