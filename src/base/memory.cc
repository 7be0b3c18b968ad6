#include <algorithm>
#include <fstream>
#include <limits>
#include <string>
#include <string_view>

#include "base/process.h"

#if defined(__APPLE__)
#include <malloc/malloc.h>
#include <sys/sysctl.h>
#elif defined(__GLIBC__)
#include <malloc.h>
#endif
#include <sys/resource.h>
#include <unistd.h>

namespace mlxmill::base {

MachineMemory mac_memory(std::uint64_t total_bytes) {
  constexpr std::uint64_t kLargest = std::uint64_t{36} << 30;
  if (total_bytes <= kLargest)
    return {total_bytes, total_bytes / 3 * 2, "two thirds, macOS's limit for the GPU up to 36 GiB"};
  return {total_bytes, total_bytes / 4 * 3, "three quarters, macOS's limit for the GPU"};
}

void return_free_memory() {
#if defined(__APPLE__)
  malloc_zone_pressure_relief(nullptr, 0);
#elif defined(__GLIBC__)
  malloc_trim(0);
#endif
}

#if defined(__APPLE__)

MachineMemory machine_memory() {
  std::uint64_t total = 0;
  std::size_t size = sizeof(total);
  if (::sysctlbyname("hw.memsize", &total, &size, nullptr, 0) != 0) return {};
  std::uint32_t wired_mib = 0;
  size = sizeof(wired_mib);
  if (::sysctlbyname("iogpu.wired_limit_mb", &wired_mib, &size, nullptr, 0) == 0 && wired_mib > 0)
    return {total, std::uint64_t{wired_mib} << 20, "the wired limit, iogpu.wired_limit_mb"};
  return mac_memory(total);
}

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

/// A line of /proc/meminfo like "MemAvailable:   123 kB", in bytes; 0 without it.
std::uint64_t meminfo(std::string_view wanted) {
  std::ifstream file("/proc/meminfo");
  std::string key;
  std::uint64_t kilobytes = 0;
  std::string unit;
  while (file >> key >> kilobytes) {
    std::getline(file, unit);
    if (key == wanted) return kilobytes * 1024;
  }
  return 0;
}

/// What RLIMIT_AS leaves of the address space, as `ulimit -v` sets it; kUnlimited without.
std::uint64_t address_space_left() {
  rlimit limit{};
  if (::getrlimit(RLIMIT_AS, &limit) != 0 || limit.rlim_cur == RLIM_INFINITY) return kUnlimited;
  const std::uint64_t pages = number_in("/proc/self/statm");
  const std::uint64_t used =
      pages == kUnlimited ? 0 : pages * static_cast<std::uint64_t>(::sysconf(_SC_PAGESIZE));
  return limit.rlim_cur > used ? limit.rlim_cur - used : 0;
}

}  // namespace

MachineMemory machine_memory() {
  const std::uint64_t total = meminfo("MemTotal:");
  const std::uint64_t limit = number_in("/sys/fs/cgroup/memory.max");
  if (limit != kUnlimited && (total == 0 || limit < total))
    return {limit, limit, "the container's memory.max"};
  return {total, total, "RAM, MemTotal of /proc/meminfo"};
}

std::uint64_t available_memory() {
  const std::uint64_t space = address_space_left();
  std::uint64_t machine = meminfo("MemAvailable:");
  if (space != kUnlimited && (machine == 0 || space < machine)) machine = space;
  const std::uint64_t limit = number_in("/sys/fs/cgroup/memory.max");
  const std::uint64_t used = number_in("/sys/fs/cgroup/memory.current");
  if (limit == kUnlimited || used == kUnlimited) return machine;
  const std::uint64_t left = limit > used ? limit - used : 0;
  return machine == 0 ? left : std::min(machine, left);
}

#endif

}  // namespace mlxmill::base
