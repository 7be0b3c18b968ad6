// Windows of tokens as bytes: the first record of a file of predictions.
#pragma once

#include <cstddef>
#include <span>
#include <vector>

#include "evaluate/windows.h"
#include "mlxmill/result.h"

namespace mlxmill::measure {

std::vector<std::byte> encode_windows_record(std::span<const evaluate::Window> windows);

/// Errors: kInvalidInput for bytes that are no such record. check_windows() is still needed.
Result<std::vector<evaluate::Window>> decode_windows_record(std::span<const std::byte> bytes);

}  // namespace mlxmill::measure
