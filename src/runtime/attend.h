// Scaled dot-product attention over plain or quantized keys and values.
#pragma once

#include <optional>

#include "runtime/state.h"

namespace mlxmill::runtime {

struct AttendOptions {
  double scale = 1;
  double softcap = 0;
  std::optional<mx::array> sinks;  ///< [heads]
};

/// The mask [length, keys] of queries at positions [offset, offset + length) over the last `keys`
/// positions up to there: true where query i may see key j. Empty when it may see every key. Window
/// and chunk as in architectures::AttentionSpec.
std::optional<mx::array> causal_mask(int offset, int length, int keys, std::int64_t window,
                                     std::int64_t chunk);

/// Queries [1, heads, length, size] to [1, heads, length, value size].
mx::array attend(const mx::array& queries, const KeysValues& kv,
                 const std::optional<mx::array>& mask, const AttendOptions& options);

}  // namespace mlxmill::runtime
