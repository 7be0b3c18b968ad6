#include "base/process.h"

#include <sys/resource.h>

namespace mlxmill::base {

std::uint64_t peak_memory() {
  struct rusage usage {};
  if (::getrusage(RUSAGE_SELF, &usage) != 0) return 0;
  const auto value = static_cast<std::uint64_t>(usage.ru_maxrss);
#if defined(__APPLE__)
  return value;  // Bytes there, kilobytes elsewhere.
#else
  return value * 1024;
#endif
}

}  // namespace mlxmill::base
