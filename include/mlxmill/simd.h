// Which vector instructions the kernels use.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "mlxmill/result.h"

namespace mlxmill {

/// Targets compiled into this library, best first, for example {"AVX3_ZEN4", "AVX3", "AVX2",
/// "SSE4"}.
std::vector<std::string> compiled_simd_targets();

/// Those of them this machine can run.
std::vector<std::string> supported_simd_targets();

/// Restricts all kernels to one target from now on; "auto" lifts it. Not while kernels run.
/// Errors: kUsage when the name is unknown or the machine lacks it; the message lists what there
/// is.
Status set_simd_target(std::string_view name);

/// The target the latest kernel call ran on, or the one the next would; for reports and tests.
std::string active_simd_target();

}  // namespace mlxmill
