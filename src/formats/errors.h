// Errors as the readers of this room word them.
#pragma once

#include <string>
#include <string_view>
#include <utility>

#include "mlxmill/error.h"

namespace mlxmill::formats {

/// The hint for files that end too early.
inline constexpr std::string_view kIncomplete = "incomplete download?";

inline Error invalid(std::string what) { return Error(Code::kInvalidInput, std::move(what)); }
inline Error unsupported(std::string what) { return Error(Code::kUnsupported, std::move(what)); }

}  // namespace mlxmill::formats
