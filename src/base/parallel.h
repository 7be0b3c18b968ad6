// The one way work is spread over cores.
#pragma once

#include <cstddef>
#include <functional>

namespace mlxmill::base {

/// Cores this process may run on (affinity and container limits included), at least 1.
int available_cores();

/// Runs `body(worker)` once on each of `workers` threads (worker 0 is the caller's) and waits for
/// all. `body` must not throw; it takes its work from a shared counter, so an early end of one
/// worker costs nothing. Threads: blocks the caller.
void run_workers(int workers, const std::function<void(int worker)>& body);

}  // namespace mlxmill::base
