// The one seam where libmlx's exceptions become errors.
#pragma once

#include <exception>
#include <new>
#include <stdexcept>
#include <string>
#include <utility>

#include "mlxmill/result.h"

namespace mlxmill::runtime {

/// Calls `body`, which returns a Result or a Status. What libmlx throws while arrays are made or
/// evaluated becomes an error: kNoMemory when an allocation failed, else kInternal with libmlx's
/// words.
template <typename Body>
auto guarded(Body&& body) -> decltype(body()) {
  try {
    return std::forward<Body>(body)();
  } catch (const std::bad_alloc&) {
    return Error(Code::kNoMemory, "not enough memory to run the model");
  } catch (const std::exception& problem) {
    const std::string text = problem.what();
    // libmlx's allocators say so in words only.
    const bool memory = text.find("[malloc") != std::string::npos ||
                        text.find("Unable to allocate") != std::string::npos ||
                        text.find("nsufficient") != std::string::npos;
    return Error(memory ? Code::kNoMemory : Code::kInternal, "libmlx: " + text);
  }
}

}  // namespace mlxmill::runtime
