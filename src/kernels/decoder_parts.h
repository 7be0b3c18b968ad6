// Parts of decoder.h that are computed as one task.
#pragma once

#include "kernels/decoder.h"

namespace mlxmill::kernels {

constexpr std::size_t attention_group(const Attention& a) { return a.heads / a.kv_heads; }

/// Rows of one key head: row i is query head `i % group` of the head's group at token `i / group`.
struct AttentionRows {
  std::size_t kv_head, first, last;
};

inline const std::uint8_t* element(const void* at, DType type, std::size_t index) {
  return static_cast<const std::uint8_t*>(at) + index * dtype_bytes(type);
}
inline std::uint8_t* element(void* at, DType type, std::size_t index) {
  return static_cast<std::uint8_t*>(at) + index * dtype_bytes(type);
}

/// Index of the first element of a row's query, and of its output.
inline std::size_t query_index(const Attention& a, std::size_t kv_head, std::size_t row) {
  const std::size_t group = attention_group(a);
  return ((kv_head * group + row % group) * a.length + row / group) * a.size;
}
inline std::size_t output_index(const Attention& a, std::size_t kv_head, std::size_t row) {
  const std::size_t group = attention_group(a);
  return (row / group * a.heads + kv_head * group + row % group) * a.value_size;
}

}  // namespace mlxmill::kernels
