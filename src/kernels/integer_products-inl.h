// What the kernels of integer products share: products of bytes, and scales, biases and units on
// their way into sums. Compiled once per target.

#if defined(MLXMILL_KERNELS_INTEGER_PRODUCTS_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef MLXMILL_KERNELS_INTEGER_PRODUCTS_INL_H_
#undef MLXMILL_KERNELS_INTEGER_PRODUCTS_INL_H_
#else
#define MLXMILL_KERNELS_INTEGER_PRODUCTS_INL_H_
#endif

#include <hwy/highway.h>

#include <algorithm>
#include <array>

#include "kernels/float_rows-inl.h"
#include "kernels/integer_rows.h"
#include "kernels/ref/block_float.h"

// Which code this target has: its own, that of AVX2 (AVX-512 has nothing better for vectors of 32
// bytes), or none, where bytes cannot be shuffled.
#undef MLXMILL_INTEGERS_OWN
#undef MLXMILL_INTEGERS_OF_AVX2
#if HWY_ARCH_X86 && HWY_TARGET < HWY_AVX2 && HWY_STATIC_TARGET > HWY_AVX2 && \
    (HWY_TARGETS & HWY_AVX2)
#define MLXMILL_INTEGERS_OF_AVX2 1
#elif MLXMILL_TARGET_HAS_VECTORS && HWY_TARGET != HWY_SSE2
#define MLXMILL_INTEGERS_OWN 1
#endif

HWY_BEFORE_NAMESPACE();
namespace mlxmill::kernels {
namespace HWY_NAMESPACE {
namespace {

#if MLXMILL_INTEGERS_OWN

/// Neighbouring products added. Codes are 0 to 127, with kSigned -127 to 127, and so is x: they fit
/// 16 bits.
template <bool kSigned, class D, class V>
HWY_INLINE hn::Vec<D> pair_products(D d, V code, V x) {
  [[maybe_unused]] constexpr std::size_t kCount = hn::MaxLanes(hn::DFromV<V>());
#if HWY_ARCH_X86 && HWY_TARGET <= HWY_AVX2  // Better targets have lower numbers.
  if constexpr (kCount == 32) {
    if constexpr (!kSigned) return hn::Vec<D>{_mm256_maddubs_epi16(code.raw, x.raw)};
    return hn::Vec<D>{_mm256_maddubs_epi16(hn::Abs(code).raw, _mm256_sign_epi8(x.raw, code.raw))};
  }
#endif
#if HWY_ARCH_X86 && HWY_TARGET <= HWY_SSE4
  if constexpr (kCount == 16) {
    if constexpr (!kSigned) return hn::Vec<D>{_mm_maddubs_epi16(code.raw, x.raw)};
    return hn::Vec<D>{_mm_maddubs_epi16(hn::Abs(code).raw, _mm_sign_epi8(x.raw, code.raw))};
  }
#endif
  const auto even = [&](V v)
                        HWY_ATTR { return hn::ShiftRight<8>(hn::ShiftLeft<8>(hn::BitCast(d, v))); };
  const auto odd = [&](V v) HWY_ATTR { return hn::ShiftRight<8>(hn::BitCast(d, v)); };
  return hn::Add(hn::Mul(even(code), even(x)), hn::Mul(odd(code), odd(x)));
}

/// Sums of the lanes of four vectors, in lanes of 128 bits.
template <class D, class V>
HWY_INLINE auto sums_of_lanes(D d, V a, V b, V c, V e) {
  if constexpr (hn::MaxLanes(d) > 4) {
    const hn::Half<D> half;
    const auto fold = [&](V v) HWY_ATTR {
      return hn::Add(hn::LowerHalf(half, v), hn::UpperHalf(half, v));
    };
    return sums_of_lanes(half, fold(a), fold(b), fold(c), fold(e));
  } else {
    const V ab = hn::Add(hn::InterleaveLower(d, a, b), hn::InterleaveUpper(d, a, b));
    const V ce = hn::Add(hn::InterleaveLower(d, c, e), hn::InterleaveUpper(d, c, e));
    return hn::Add(hn::ConcatLowerLower(d, ce, ab), hn::ConcatUpperUpper(d, ce, ab));
  }
}

/// Adds biases times sums of x, and writes scales times units of x. Both of x are padded with
/// zeros.
template <class D, class V>
HWY_INLINE V meet_parameters(D d, const float* scales, const float* biases, const float* sums,
                             const float* units, std::size_t groups, float* both, V total) {
  constexpr std::size_t kCount = hn::MaxLanes(d);
  std::size_t g = 0;
  for (; g + kCount <= groups; g += kCount) {
    hn::StoreU(hn::Mul(hn::LoadU(d, units + g), hn::LoadU(d, scales + g)), d, both + g);
    total = hn::MulAdd(hn::LoadU(d, biases + g), hn::LoadU(d, sums + g), total);
  }
  if (g == groups) return total;
  // What follows is the next row's.
  hn::StoreU(hn::Mul(hn::LoadU(d, units + g), hn::LoadU(d, scales + g)), d, both + g);
  const V own = hn::IfThenElseZero(hn::FirstN(d, groups - g), hn::LoadU(d, biases + g));
  return hn::MulAdd(own, hn::LoadU(d, sums + g), total);
}

/// Half of what each scale of FP4 stands for.
template <Mode kMode>
const float* half_scales() {
  static const std::array<float, 256> halves = [] {
    std::array<float, 256> all{};
    for (std::size_t k = 0; k < all.size(); ++k) {
      all[k] = ref::block_scale_value(kMode, DType::kF32, static_cast<std::uint8_t>(k)) / 2;
    }
    return all;
  }();
  return halves.data();
}

/// Scales and biases of rows as F32; those of FP4 are for twice its values. Of both, what
/// integers::parameter_room() adds is zero.
inline void load_parameters(const MatrixView& w, std::size_t first, std::size_t last, float* scales,
                            float* biases) {
  const std::size_t n = (last - first) * groups_of(w);
  const std::uint8_t* from = parameter_row(w, w.scales, first);
  if (is_affine(w)) {
    widen(w.type, from, n, scales);
    widen(w.type, parameter_row(w, w.biases, first), n, biases);
  } else {
    const float* halves =
        w.scheme->mode == Mode::kMxfp4 ? half_scales<Mode::kMxfp4>() : half_scales<Mode::kNvfp4>();
    for (std::size_t k = 0; k < n; ++k) scales[k] = halves[from[k]];
    std::fill(biases, biases + n, 0.0f);
  }
  const std::size_t room = integers::parameter_room(w, last - first);
  std::fill(scales + n, scales + room, 0.0f);
  std::fill(biases + n, biases + room, 0.0f);
  for (std::size_t k = 0; w.factor != 1.0f && k < n; ++k) {
    scales[k] *= w.factor;
    biases[k] *= w.factor;
  }
}

#endif  // MLXMILL_INTEGERS_OWN

}  // namespace
}  // namespace HWY_NAMESPACE
}  // namespace mlxmill::kernels
HWY_AFTER_NAMESPACE();

#endif  // include guard per target
