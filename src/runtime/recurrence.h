// The recurrence of RWKV 7's time mix: state = state diag(w) + (state a) b^T + v k^T, y = state r.
#pragma once

#include <mlx/mlx.h>

namespace mlxmill::runtime {

namespace mx = mlx::core;

/// What goes in, of some tokens: all float32 [heads, tokens, size]. `w_log` is the logarithm of the
/// decays, from -0.61 to 0.
struct Recurrence {
  mx::array r, w_log, k, v, a, b;
};

/// Returns y [heads, tokens, size]; the state [heads, size, size], of rows by values and columns by
/// keys, moves on.
///
/// Token by token.
mx::array recur_by_token(const Recurrence& in, mx::array& state);
/// By matrices over chunks of tokens, of which one step each waits for the one before.
mx::array recur_by_chunks(const Recurrence& in, mx::array& state);

}  // namespace mlxmill::runtime
