// Rows or columns divided by their length.
#include <algorithm>
#include <cmath>

#include "base/checked_math.h"
#include "kernels/arithmetic.h"
#include "streaming/computed.h"

namespace mlxmill::streaming {
namespace {

/// How many elements are read at once while norms are summed up.
constexpr std::uint64_t kReadElements = 256 << 10;

/// The norm of every slice along the axis: one for each index of the other axes, which is [outer,
/// inner] around the axis. Squares are added up in the order of the axis in float32, as libmlx's
/// CPU backend does.
struct Extents {
  std::uint64_t outer = 1;
  std::uint64_t length = 1;
  std::uint64_t inner = 1;

  Extents(const base::Shape& shape, std::size_t axis) {
    for (std::size_t k = 0; k < shape.size(); ++k) {
      const auto extent = static_cast<std::uint64_t>(shape[k]);
      (k < axis ? outer : k == axis ? length : inner) *= extent;
    }
  }
};

Status sum_squares(const Inputs& in, const Extents& e, std::uint64_t begin, std::uint64_t end,
                   std::uint64_t first_norm, std::vector<float>& norms) {
  Scratch::Lease values = in.scratch.take(kReadElements * sizeof(float));
  for (std::uint64_t at = begin; at < end; at += kReadElements) {
    const std::uint64_t n = std::min(kReadElements, end - at);
    MLXMILL_TRY(in.read_f32(0, at, n, values.floats()));
    for (std::uint64_t i = 0; i < n;) {
      // A run of the innermost axes goes to neighbouring norms, or to a single one where the axis
      // is innermost.
      const std::uint64_t index = at + i;
      const std::uint64_t column = index % e.inner;
      const std::uint64_t run = std::min(e.inner - column, n - i);
      float* norm = norms.data() + (index / (e.length * e.inner) * e.inner + column - first_norm);
      for (std::uint64_t k = 0; k < run; ++k) {
        const float square = values.floats()[i + k] * values.floats()[i + k];
        norm[k] += square;
      }
      i += run;
    }
  }
  for (float& norm : norms) norm = std::sqrt(norm);
  return {};
}

}  // namespace

Status evaluate(const tensors::Normalize& op, const Inputs& in, std::uint64_t begin,
                std::uint64_t n, void* out) {
  const Extents e(in.computed.shape, op.axis);
  const std::uint64_t slab = e.length * e.inner;
  std::vector<float> norms;
  std::uint64_t first_norm = 0;
  if (e.inner == 1) {
    // Rows: those that the range touches.
    first_norm = begin / slab;
    const std::uint64_t last = base::div_ceil(begin + n, slab);
    norms.assign(last - first_norm, 0);
    MLXMILL_TRY(sum_squares(in, e, first_norm * slab, last * slab, first_norm, norms));
  } else {
    const std::lock_guard lock(in.summary.mutex);
    if (in.summary.norms.empty()) {
      std::vector<float> all(e.outer * e.inner, 0);
      MLXMILL_TRY(sum_squares(in, e, 0, e.outer * slab, 0, all));
      in.summary.norms = std::move(all);
    }
    norms = in.summary.norms;
  }
  Scratch::Lease values = in.scratch.take(n * sizeof(float));
  MLXMILL_TRY(in.read_f32(0, begin, n, values.floats()));
  const auto epsilon = static_cast<float>(op.epsilon);
  for (std::uint64_t i = 0; i < n; ++i) {
    const std::uint64_t index = begin + i;
    const float norm = norms[index / slab * e.inner + index % e.inner - first_norm];
    values.floats()[i] = values.floats()[i] / (norm + epsilon);
  }
  kernels::from_f32(values.floats(), out, in.computed.dtype, n);
  return {};
}

}  // namespace mlxmill::streaming
