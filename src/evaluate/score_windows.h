// Running logits through the metrics, block by block.
#pragma once

#include <cstdint>
#include <functional>
#include <span>
#include <vector>

#include "evaluate/logits_source.h"
#include "evaluate/position_score.h"
#include "evaluate/reference_row.h"
#include "evaluate/windows.h"
#include "mlxmill/result.h"

namespace mlxmill::evaluate {

/// Rows that are in memory at once: at most 32 MiB of logits, from 1 to 64. Depends on the
/// vocabulary alone, so blocks in files do too.
std::int64_t rows_per_block(std::int64_t vocabulary);

/// Where the reference's rows come from. Threads: one call at a time.
class ReferenceRows {
 public:
  virtual ~ReferenceRows() = default;
  virtual std::int64_t vocabulary() const = 0;
  /// Rows of positions [first, first + rows.size()) of a window, which lie in one block of it:
  /// blocks start at window.begin. Requires windows and positions in rising order.
  virtual Status read(std::size_t window_index, const Window& window, std::uint32_t first,
                      std::span<ReferenceRow> rows) = 0;
};

/// A source as reference: nothing is left out.
class DirectReference : public ReferenceRows {
 public:
  DirectReference(LogitsSource& source, int threads) : source_(source), threads_(threads) {}
  std::int64_t vocabulary() const override { return source_.vocabulary(); }
  Status read(std::size_t window_index, const Window& window, std::uint32_t first,
              std::span<ReferenceRow> rows) override;

 private:
  LogitsSource& source_;
  int threads_;
  std::vector<float> logits_;
};

/// Called for each window in order; false stops.
using WindowDone = std::function<Result<bool>(std::size_t window, std::span<const PositionScore>)>;

/// Scores windows [first_window, windows.size()). `reference` may be null. Requires windows that
/// check_windows passed.
/// Errors: those of the sources and of `done`; kNonFinite naming window, position and token.
/// Numerics: the same scores for any number of threads.
Status score_windows(LogitsSource& source, ReferenceRows* reference,
                     std::span<const Window> windows, std::size_t first_window, int threads,
                     const WindowDone& done);

/// Called for each block in order with its encoded rows; false stops.
using BlockDone = std::function<Result<bool>(std::size_t window, std::uint32_t first,
                                             std::span<const std::byte> rows)>;

/// Encodes the reference's rows of windows [first_window, windows.size()), block by block.
Status encode_windows(LogitsSource& source, const RowEncoding& encoding,
                      std::span<const Window> windows, std::size_t first_window, int threads,
                      const BlockDone& done);

}  // namespace mlxmill::evaluate
