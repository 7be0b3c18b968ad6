// What the library tells its caller while it works. The library itself never prints.
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <string_view>

namespace mlxmill {

/// A snapshot of a long call. Bytes count source bytes read.
struct Progress {
  std::string_view phase;  ///< "quantizing", "checking", "copying", ...
  std::uint64_t bytes_done = 0;
  std::uint64_t bytes_total = 0;
  std::uint64_t bytes_resumed = 0;  ///< Of bytes_done, what an earlier run had finished.
  std::uint64_t tensors_done = 0;
  std::uint64_t tensors_total = 0;
};

/// Callbacks of a long call; each may be empty. They are called from one thread at a time, which
/// may not be the caller's, and should return quickly.
struct Callbacks {
  std::function<void(const Progress&)>
      progress;  ///< A few times a second, and at the start and end of a phase.
  std::function<void(std::string_view)>
      warning;  ///< Something a person should know; the work goes on.
  std::function<void(std::string_view)> note;  ///< What is being done ("resuming ...").
  std::function<bool()> cancelled;  ///< Polled; true ends the call with kCancelled, resumable.
};

}  // namespace mlxmill
