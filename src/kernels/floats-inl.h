// Vectors of F32 from and to memory in any of the three float types. Compiled once per target.
// All pointers are bytes: tensors in a file start anywhere.

#if defined(MLXMILL_KERNELS_FLOATS_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef MLXMILL_KERNELS_FLOATS_INL_H_
#undef MLXMILL_KERNELS_FLOATS_INL_H_
#else
#define MLXMILL_KERNELS_FLOATS_INL_H_
#endif

#include <hwy/highway.h>

#include <cstddef>
#include <cstdint>

#include "kernels/ref/floats.h"
#include "mlxmill/dtype.h"

HWY_BEFORE_NAMESPACE();
namespace mlxmill::kernels {
namespace HWY_NAMESPACE {

#if MLXMILL_TARGET_HAS_VECTORS

namespace hn = hwy::HWY_NAMESPACE;

// Sixteen lanes at most, so that every group is a whole number of vectors.
using FloatTag = hn::CappedTag<float, 16>;
using BitsTag = hn::RebindToUnsigned<FloatTag>;
using IntTag = hn::RebindToSigned<FloatTag>;
using HalfBitsTag = hn::Rebind<std::uint16_t, FloatTag>;
using ByteTag = hn::Rebind<std::uint8_t, FloatTag>;
using Floats = hn::Vec<FloatTag>;
using Bits = hn::Vec<BitsTag>;
using HalfBits = hn::Vec<HalfBitsTag>;

inline constexpr std::size_t kLanes = hn::MaxLanes(FloatTag());

// Machine conversions between F16 and F32 are exactly rounded; emulation is left to nobody else.
#undef MLXMILL_HAS_F16_CONVERSION
#if HWY_ARCH_X86 && HWY_TARGET <= HWY_AVX2 && !defined(HWY_DISABLE_F16C)
#define MLXMILL_HAS_F16_CONVERSION 1
#elif HWY_ARCH_ARM_A64 && HWY_TARGET != HWY_EMU128
#define MLXMILL_HAS_F16_CONVERSION 1
#else
#define MLXMILL_HAS_F16_CONVERSION 0
#endif

template <DType kType>
inline constexpr std::size_t kBytes = kType == DType::kF32 ? 4 : 2;

HWY_INLINE Bits bits_of(Floats x) { return hn::BitCast(BitsTag(), x); }
HWY_INLINE Floats float_of(Bits x) { return hn::BitCast(FloatTag(), x); }
HWY_INLINE Bits set_bits(std::uint32_t x) { return hn::Set(BitsTag(), x); }
HWY_INLINE Floats set_float(float x) { return hn::Set(FloatTag(), x); }

/// A vector of D's lanes from bytes at any alignment.
template <class D>
HWY_INLINE hn::Vec<D> load_bytes(D d, const std::uint8_t* from) {
  return hn::BitCast(d, hn::LoadU(hn::Repartition<std::uint8_t, D>(), from));
}
template <class D>
HWY_INLINE void store_bytes(D /*d*/, hn::Vec<D> v, std::uint8_t* to) {
  const hn::Repartition<std::uint8_t, D> bytes;
  hn::StoreU(hn::BitCast(bytes, v), bytes, to);
}

HWY_INLINE Floats f32_from_f16(HalfBits h) {
#if MLXMILL_HAS_F16_CONVERSION
  const hn::Rebind<hwy::float16_t, FloatTag> halves;
  return hn::PromoteTo(FloatTag(), hn::BitCast(halves, h));
#else
  const Bits u = hn::PromoteTo(BitsTag(), h);
  const Bits magnitude = hn::And(u, set_bits(0x7FFF));
  const Bits sign = hn::ShiftLeft<16>(hn::Xor(u, magnitude));
  const Bits shifted = hn::ShiftLeft<13>(magnitude);
  const Bits normal = hn::Add(shifted, set_bits(112u << 23));
  const Bits special = hn::Or(shifted, set_bits(0x7F800000));
  const Bits subnormal = bits_of(
      hn::Mul(hn::ConvertTo(FloatTag(), hn::BitCast(IntTag(), magnitude)), set_float(0x1p-24f)));
  Bits result = hn::IfThenElse(hn::Lt(magnitude, set_bits(0x0400)), subnormal, normal);
  result = hn::IfThenElse(hn::Gt(magnitude, set_bits(0x7BFF)), special, result);
  return float_of(hn::Or(result, sign));
#endif
}

/// To nearest, ties to even; NaN to some NaN.
HWY_INLINE HalfBits f16_from_f32(Floats x) {
#if MLXMILL_HAS_F16_CONVERSION
  const hn::Rebind<hwy::float16_t, FloatTag> halves;
  return hn::BitCast(HalfBitsTag(), hn::DemoteTo(halves, x));
#else
  const Bits u = bits_of(x);
  const Bits magnitude = hn::And(u, set_bits(0x7FFFFFFF));
  const Bits sign = hn::ShiftRight<16>(hn::Xor(u, magnitude));
  const Bits half_unit = set_bits(ref::bits_of(0.5f));
  const Bits subnormal = hn::Sub(bits_of(hn::Add(float_of(magnitude), set_float(0.5f))), half_unit);
  const Bits odd = hn::And(hn::ShiftRight<13>(magnitude), set_bits(1));
  const Bits normal =
      hn::ShiftRight<13>(hn::Add(hn::Add(magnitude, odd), set_bits(0xFFFu - (112u << 23))));
  Bits result =
      hn::IfThenElse(hn::Lt(magnitude, set_bits(ref::bits_of(0x1p-14f))), subnormal, normal);
  result =
      hn::IfThenElse(hn::Lt(magnitude, set_bits(ref::bits_of(65536.0f))), result, set_bits(0x7C00));
  result = hn::IfThenElse(hn::Gt(magnitude, set_bits(0x7F800000)), set_bits(0x7E00), result);
  return hn::TruncateTo(HalfBitsTag(), hn::Or(result, sign));
#endif
}

/// BF16 rounding on F32 bits, to nearest, ties to even; the low half is left to be cut off.
/// Requires that NaNs have a zero low half, as every NaN that arithmetic makes of BF16 values has.
HWY_INLINE Bits add_bf16_rounding(Bits u) {
  const Bits odd = hn::And(hn::ShiftRight<16>(u), set_bits(1));
  return hn::Add(hn::Add(u, odd), set_bits(0x7FFF));
}

template <DType kType>
HWY_INLINE Floats load_floats(const std::uint8_t* from) {
  if constexpr (kType == DType::kF32) {
    return load_bytes(FloatTag(), from);
  } else if constexpr (kType == DType::kBF16) {
    return float_of(hn::ShiftLeft<16>(hn::PromoteTo(BitsTag(), load_bytes(HalfBitsTag(), from))));
  } else {
    return f32_from_f16(load_bytes(HalfBitsTag(), from));
  }
}

/// Rounds to kType; every NaN becomes the type's quiet NaN.
template <DType kType>
HWY_INLINE void store_floats(Floats x, std::uint8_t* to) {
  const auto nan = hn::IsNaN(x);
  if constexpr (kType == DType::kF32) {
    store_bytes(FloatTag(), hn::IfThenElse(nan, float_of(set_bits(ref::kQuietNanF32)), x), to);
  } else if constexpr (kType == DType::kBF16) {
    const Bits rounded = add_bf16_rounding(bits_of(x));
    const Bits quiet = set_bits(ref::kQuietNanF32);
    const Bits u = hn::IfThenElse(hn::RebindMask(BitsTag(), nan), quiet, rounded);
    store_bytes(HalfBitsTag(), hn::TruncateTo(HalfBitsTag(), hn::ShiftRight<16>(u)), to);
  } else {
    // The positive quiet F32 NaN becomes the positive quiet F16 NaN on every machine.
    store_bytes(HalfBitsTag(),
                f16_from_f32(hn::IfThenElse(nan, float_of(set_bits(ref::kQuietNanF32)), x)), to);
  }
}

/// The values `x` has once stored as kType.
template <DType kType>
HWY_INLINE Floats round_floats(Floats x) {
  if constexpr (kType == DType::kF32) {
    return x;
  } else if constexpr (kType == DType::kBF16) {
    return float_of(hn::And(add_bf16_rounding(bits_of(x)), set_bits(0xFFFF0000)));
  } else {
    return f32_from_f16(f16_from_f32(x));
  }
}

/// Truncates each lane to its low byte and writes kLanes bytes.
HWY_INLINE void store_low_bytes(Bits x, std::uint8_t* to) {
  hn::StoreU(hn::TruncateTo(ByteTag(), x), ByteTag(), to);
}

#endif  // MLXMILL_TARGET_HAS_VECTORS

}  // namespace HWY_NAMESPACE
}  // namespace mlxmill::kernels
HWY_AFTER_NAMESPACE();

#endif  // include guard per target
