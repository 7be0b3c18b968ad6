// The memory that blocks keep of a sequence, counted from their declaration alone.
#pragma once

#include <cstdint>
#include <optional>

#include "architectures/forward/forward.h"
#include "mlxmill/result.h"

namespace mlxmill::architectures {

/// Buffers of keys and values grow by so many tokens at once.
inline constexpr std::int64_t kStateStep = 256;
/// What running takes beside weights and states: activations of a chunk, libmlx's own buffers.
inline constexpr std::uint64_t kWorkingBytes = std::uint64_t{256} << 20;

/// How keys and values are kept.
struct StateFormat {
  std::uint64_t float_bytes = 2;  ///< Of one activation.
  std::optional<int> kv_bits;     ///< Quantized with so many bits (affine); empty: as computed.
  int kv_group_size = 64;
  std::int64_t most_tokens = 0;   ///< That attention without a window keeps; 0: all.
  std::int64_t float_tokens = 0;  ///< With kv_bits: most that are kept before they are quantized.
};

/// The group size that keys and values are quantized with: `asked`, or if that is 0 the first of 64
/// and 32 that divides the heads of every attention that keeps its own. Errors: kUnsupported.
Result<int> kv_group_size(const Forward& forward, int asked);

/// Bytes of keys and values of `heads` heads after `tokens` tokens, at most. `window`: keys that a
/// token sees, itself included; 0: all. Numbers too large for 64 bits give the largest there is.
std::uint64_t kv_bytes(const StateFormat& format, std::int64_t window, std::int64_t tokens,
                       std::int64_t heads, std::int64_t key_size, std::int64_t value_size);

/// Bytes that the memory of all blocks takes after `tokens` tokens of one sequence: keys and
/// values, recurrent states, the last inputs of convolutions. As kv_bytes() where it is too large.
std::uint64_t state_bytes(const Forward& forward, const StateFormat& format, std::int64_t tokens);

}  // namespace mlxmill::architectures
