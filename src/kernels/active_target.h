// The target the kernels last ran on.
#pragma once

#include "kernels/targets.h"

#include <hwy/targets.h>

#include <atomic>
#include <cstdint>

namespace mlxmill::kernels {

/// The HWY_TARGET bit of the kernel that ran last; 0 before the first and after a change of target.
inline std::atomic<std::int64_t>& last_target() {
  static std::atomic<std::int64_t> target{0};
  return target;
}

/// The target set_simd_target chose; 0 for auto.
inline std::atomic<std::int64_t>& target_restriction() {
  static std::atomic<std::int64_t> target{0};
  return target;
}

/// The target that kernels run on now. (Highway gives better targets lower bits.)
inline std::int64_t target_in_force() {
  const std::int64_t only = target_restriction().load(std::memory_order_relaxed);
  if (only != 0) return only;
  static const std::int64_t best = hwy::SupportedTargets() & -hwy::SupportedTargets();
  return best;
}

/// Every per-target kernel calls this with its HWY_TARGET.
inline void record_target(std::int64_t target) {
  last_target().store(target, std::memory_order_relaxed);
}

}  // namespace mlxmill::kernels
