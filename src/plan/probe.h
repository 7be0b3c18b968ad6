// A short measurement: how fast weights are read, and how fast they are quantized in memory.
#pragma once

#include <cstdint>

#include "formats/checkpoint.h"
#include "mlxmill/plan.h"
#include "mlxmill/result.h"

namespace mlxmill::plan {

/// Reads the first weights of the largest file, for about a second and 4 MiB at most, and quantizes
/// 16-bit weights made of those bytes for a fifth of a second on every core. Errors: those of
/// reading.
Result<PlanProbe> probe(const formats::Checkpoint& checkpoint, std::uint64_t parameters);

}  // namespace mlxmill::plan
