#include "mlxmill/simd.h"

#include "kernels/targets.h"

#include <hwy/highway.h>

#include <atomic>
#include <cstdint>

#include "kernels/active_target.h"

namespace mlxmill {
namespace {

/// What the machine can run of what is compiled, before any restriction.
std::int64_t supported_mask() {
  static const std::int64_t mask =
      (hwy::SupportedTargets() | HWY_STATIC_TARGET) & static_cast<std::int64_t>(HWY_TARGETS);
  return mask;
}

/// Names of the targets in `mask`, best first: better targets have lower bits.
std::vector<std::string> names_of(std::int64_t mask) {
  std::vector<std::string> names;
  for (; mask != 0; mask &= mask - 1) names.emplace_back(hwy::TargetName(mask & -mask));
  return names;
}

std::string joined(const std::vector<std::string>& names) {
  std::string text;
  for (const std::string& name : names) text += (text.empty() ? "" : ", ") + name;
  return text;
}

}  // namespace

std::vector<std::string> compiled_simd_targets() { return names_of(HWY_TARGETS); }

std::vector<std::string> supported_simd_targets() { return names_of(supported_mask()); }

Status set_simd_target(std::string_view name) {
  std::int64_t chosen = 0;
  for (std::int64_t rest = supported_mask(); rest != 0; rest &= rest - 1) {
    if (name == hwy::TargetName(rest & -rest)) chosen = rest & -rest;
  }
  if (chosen == 0 && name != "auto") {
    return Error(Code::kUsage, "unknown or unsupported SIMD target '" + std::string(name) +
                                   "'; expected auto or one of " +
                                   joined(supported_simd_targets()));
  }
  // Zero lifts the restriction. Dispatch reads a cached choice, which only Update refreshes.
  hwy::SetSupportedTargetsForTest(chosen);
  hwy::GetChosenTarget().Update(hwy::SupportedTargets());
  kernels::last_target().store(0, std::memory_order_relaxed);
  kernels::target_restriction().store(chosen, std::memory_order_relaxed);
  return {};
}

std::string active_simd_target() {
  const std::int64_t last = kernels::last_target().load(std::memory_order_relaxed);
  if (last != 0) return hwy::TargetName(last);
  const std::int64_t chosen = kernels::target_restriction().load(std::memory_order_relaxed);
  const std::int64_t next = chosen != 0 ? chosen : supported_mask();
  return hwy::TargetName(next & -next);
}

}  // namespace mlxmill
