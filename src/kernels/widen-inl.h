// Rows of any float type as F32. Compiled once per target.

#if defined(MLXMILL_KERNELS_WIDEN_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef MLXMILL_KERNELS_WIDEN_INL_H_
#undef MLXMILL_KERNELS_WIDEN_INL_H_
#else
#define MLXMILL_KERNELS_WIDEN_INL_H_
#endif

#include <hwy/highway.h>

#include "kernels/float_rows.h"
#include "kernels/floats-inl.h"

HWY_BEFORE_NAMESPACE();
namespace mlxmill::kernels {
namespace HWY_NAMESPACE {
namespace {

#if MLXMILL_TARGET_HAS_VECTORS

/// n elements of `type` to F32, then zeros up to a multiple of 16.
template <DType kType>
HWY_INLINE void widen_typed(const std::uint8_t* from, std::size_t n, float* to) {
  std::size_t i = 0;
  for (; i + kLanes <= n; i += kLanes) {
    hn::StoreU(load_floats<kType>(from + i * kBytes<kType>), FloatTag(), to + i);
  }
  for (; i < n; ++i) to[i] = ref::load(kType, from, i);
  for (; i < padded(n); ++i) to[i] = 0.0f;
}

HWY_NOINLINE void widen(DType type, const std::uint8_t* from, std::size_t n, float* to) {
  switch (type) {
    case DType::kF16:
      return widen_typed<DType::kF16>(from, n, to);
    case DType::kBF16:
      return widen_typed<DType::kBF16>(from, n, to);
    default:
      return widen_typed<DType::kF32>(from, n, to);
  }
}

#endif  // MLXMILL_TARGET_HAS_VECTORS

}  // namespace
}  // namespace HWY_NAMESPACE
}  // namespace mlxmill::kernels
HWY_AFTER_NAMESPACE();

#endif  // include guard per target
