// Where blocks of rows of weights lie, on every target alike.
#pragma once

#include "kernels/integer_rows.h"

namespace mlxmill::kernels::integers {

// Rows of weights in a block, at most.
inline constexpr std::size_t kBlockRows = 16;

// Codes of a row that meet all of x before the next: interleaved they stay in the first-level
// cache.
inline constexpr std::size_t kStretchCodes = 256;

/// Where a block and its sums lie in scratch, in bytes. `element`: bytes of an integer.
struct BlockLayout {
  std::size_t code_stride;  // From row to row of codes as bytes,
  std::size_t codes;        // which lie here.
  std::size_t interleaved;  // Integers: for every 4 bytes of a row those of all rows.
  std::size_t parameters;   // F32 by row: scales, then biases, parameter_room() each.
  std::size_t columns;      // F32 by group: scales of all rows, then biases likewise.
  std::size_t totals;       // F32 by row of x: outputs of all rows.
  std::size_t end;

  BlockLayout(const Product& p, std::size_t element)
      : code_stride(round_up(p.weight.cols, 64) + 64) {
    const MatrixView& w = p.weight;
    codes = 0;
    interleaved = kBlockRows * code_stride;
    parameters = interleaved + round_up(kBlockRows * w.cols * element, 64);
    columns = parameters + round_up(8 * parameter_room(w, kBlockRows), 64);
    totals = columns + 8 * kBlockRows * groups_of(w);
    end = totals + 4 * kBlockRows * p.count;
  }
};

}  // namespace mlxmill::kernels::integers
