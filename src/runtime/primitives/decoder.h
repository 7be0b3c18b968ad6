// Norms, gates, rotation, sums and attention on the CPU by mlxmill's own kernels, as primitives of
// libmlx's graph. There libmlx composes each of a dozen operations on one thread.
#pragma once

#include <mlx/mlx.h>

#include <memory>
#include <optional>
#include <vector>

#include "kernels/decoder.h"

namespace mlxmill::runtime {

namespace mx = mlx::core;

/// Whether arrays of this type are computed here: floats on a CPU stream.
bool computes_on_cpu(const mx::array& x);

/// As mx::fast::rms_norm. Requires computes_on_cpu(x), and a weight [cols] of x's type if any.
mx::array rms_norm_on_cpu(const mx::array& x, const std::optional<mx::array>& weight,
                          float epsilon);

/// x as float32.
mx::array widened_on_cpu(const mx::array& x);

/// a + b of one shape and type, which computes_on_cpu.
mx::array add_on_cpu(const mx::array& a, const mx::array& b);

/// activation(gate) * up of one shape and type, which computes_on_cpu.
mx::array gate_on_cpu(kernels::GateKind kind, const mx::array& gate, const mx::array& up);

/// What a rotation is made of, whatever its position.
struct RotationTable {
  std::vector<float> frequencies;  ///< Of each pair, in radians per position.
  bool traditional = false;
};

/// x [1, heads, length, size] from position `offset` on. Requires computes_on_cpu(x), and no more
/// pairs than half of size.
mx::array rotate_on_cpu(const mx::array& x, std::shared_ptr<const RotationTable> table, int offset);

/// Whether attend_on_cpu takes these.
bool attends_on_cpu(const mx::array& queries, const mx::array& keys, const mx::array& values,
                    const std::optional<mx::array>& mask, const std::optional<mx::array>& sinks);

/// As runtime/attend.h for plain keys and values.
mx::array attend_on_cpu(const mx::array& queries, const mx::array& keys, const mx::array& values,
                        const std::optional<mx::array>& mask, const std::optional<mx::array>& sinks,
                        float scale, float softcap);

}  // namespace mlxmill::runtime
