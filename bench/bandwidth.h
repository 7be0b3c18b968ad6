// What memory gives to all threads that read it together.
#pragma once

#include <cstddef>

#include "base/thread_pool.h"

namespace mlxmill::bench {

/// Bytes per second of the fastest of `repeats` readings of `bytes` of memory by the pool's
/// threads, the better of two ways: one piece after another as they come, and a stretch for each
/// thread. Whole vectors are loaded with the widest instructions the machine has, prefetched, and
/// only combined.
double read_bandwidth(base::ThreadPool& pool, std::size_t bytes, int repeats);

}  // namespace mlxmill::bench
