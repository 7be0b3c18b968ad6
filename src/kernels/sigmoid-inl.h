// The logistic function of vectors. Compiled once per target.

#if defined(MLXMILL_KERNELS_SIGMOID_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef MLXMILL_KERNELS_SIGMOID_INL_H_
#undef MLXMILL_KERNELS_SIGMOID_INL_H_
#else
#define MLXMILL_KERNELS_SIGMOID_INL_H_
#endif

#include <hwy/contrib/math/math-inl.h>
#include <hwy/highway.h>

#include "kernels/floats-inl.h"

HWY_BEFORE_NAMESPACE();
namespace mlxmill::kernels {
namespace HWY_NAMESPACE {

#if MLXMILL_TARGET_HAS_VECTORS

HWY_INLINE Floats sigmoid(Floats x) {
  // Beyond this the exponential would overflow; the result is 0 to all digits.
  const Floats bounded = hn::Max(x, set_float(-87.0f));
  const Floats power = hn::Exp(FloatTag(), hn::Neg(bounded));
  const Floats y = hn::Div(set_float(1.0f), hn::Add(set_float(1.0f), power));
  return hn::IfThenElse(hn::IsNaN(x), x, y);
}

#endif  // MLXMILL_TARGET_HAS_VECTORS

}  // namespace HWY_NAMESPACE
}  // namespace mlxmill::kernels
HWY_AFTER_NAMESPACE();

#endif  // include guard per target
