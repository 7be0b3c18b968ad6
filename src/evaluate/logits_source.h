// Where logits come from: a model that runs, or a file. The metrics know no more of a model.
#pragma once

#include <cstdint>
#include <span>

#include "mlxmill/result.h"

namespace mlxmill::evaluate {

/// Logits of one window at a time. Threads: one call at a time.
class LogitsSource {
 public:
  virtual ~LogitsSource() = default;

  /// Length of a row of logits; token ids lie below it.
  virtual std::int64_t vocabulary() const = 0;
  /// The longest window; 0 for no limit.
  virtual std::int64_t context() const = 0;

  /// Takes a window, to be run from an empty state. Requires 0 <= id < vocabulary() for every id.
  virtual Status start(std::span<const std::int32_t> tokens) = 0;

  /// Logits at positions [first, first + n) of the window: what follows tokens[0..position].
  /// Shapes   out f32 [n, vocabulary()], row-major.
  /// Requires positions in rising order over the calls of one window; some may be left out.
  virtual Status read(std::int64_t first, std::int64_t n, std::span<float> out) = 0;
};

}  // namespace mlxmill::evaluate
