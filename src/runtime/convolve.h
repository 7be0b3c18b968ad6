// The short convolutions of blocks with a state of fixed size.
#pragma once

#include "runtime/state.h"

namespace mlxmill::runtime {

/// A depthwise convolution over the last tokens, of which the state keeps kernel - 1.
/// x [1, length, channels], weight [channels, kernel, 1].
inline mx::array convolve(const mx::array& x, const mx::array& weight, ArraysState& state,
                          std::size_t slot) {
  const int keep = weight.shape(1) - 1;
  const int channels = x.shape(2);
  const mx::array before = state[slot] ? *state[slot] : mx::zeros({1, keep, channels}, x.dtype());
  const mx::array input = mx::concatenate({before, x}, 1);
  const int end = input.shape(1);
  state.set(slot, mx::contiguous(mx::slice(input, {0, end - keep, 0}, {1, end, channels})));
  return mx::conv1d(input, weight, 1, 0, 1, channels);
}

}  // namespace mlxmill::runtime
