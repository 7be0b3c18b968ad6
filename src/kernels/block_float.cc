// The codecs of mxfp4, nvfp4 and mxfp8. What is decided once per group is the reference's own code;
// weights go through vectors. Groups the vector path cannot do exactly go to the reference whole.
#include "kernels/targets.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/block_float.cc"
#include <hwy/foreach_target.h>
#include <hwy/highway.h>

#include <algorithm>
#include <cstring>
#include <limits>
#include <type_traits>

#include "kernels/active_target.h"
#include "kernels/codecs.h"
#include "kernels/codes-inl.h"
#include "kernels/floats-inl.h"
#include "kernels/ref/block_float.h"
#include "kernels/ref/ref.h"

HWY_BEFORE_NAMESPACE();
namespace mlxmill::kernels {
namespace HWY_NAMESPACE {
namespace {

#if MLXMILL_TARGET_HAS_VECTORS

template <Mode kMode>
inline constexpr std::size_t kGroupOf = kMode == Mode::kNvfp4 ? 16 : 32;
template <Mode kMode>
inline constexpr int kBitsOf = kMode == Mode::kMxfp8 ? 8 : 4;

/// The largest magnitude of one group as F32 bits; 0x7F800000 or more if a weight is not finite.
template <DType kType, std::size_t kGroup>
HWY_INLINE std::uint32_t max_magnitude_bits(const std::uint8_t* from) {
  // Magnitudes compare like signed integers, in the type's own width.
  using Lane = std::conditional_t<kType == DType::kF32, std::int32_t, std::int16_t>;
  const hn::CappedTag<Lane, kGroup> d;
  const auto mask = hn::Set(d, hwy::LimitsMax<Lane>());
  auto most = hn::And(load_bytes(d, from), mask);
  for (std::size_t i = hn::Lanes(d); i < kGroup; i += hn::Lanes(d)) {
    most = hn::Max(most, hn::And(load_bytes(d, from + i * sizeof(Lane)), mask));
  }
  const auto bits = static_cast<std::uint32_t>(hn::GetLane(hn::MaxOfLanes(d, most)));
  if constexpr (kType == DType::kF32) return bits;
  const auto half = static_cast<std::uint16_t>(bits);
  return ref::bits_of(kType == DType::kBF16 ? ref::f32_from_bf16(half) : ref::f32_from_f16(half));
}

/// A group's stored scale and what its weights are multiplied (mx) or divided (nvfp4) by. False if
/// the group needs the reference.
template <Mode kMode, DType kType>
HWY_INLINE bool choose_factor(std::uint32_t max_bits, std::uint8_t* byte, float* factor) {
  *byte = 0;
  *factor = 1.0f;
  if (max_bits >= 0x7F800000) return false;
  const float max_magnitude = ref::float_of(max_bits);
  const ref::BlockScale scale = ref::choose_block_scale(kMode, kType, max_magnitude);
  *byte = scale.byte;
  if constexpr (kMode == Mode::kNvfp4) {
    // Everything over zero is infinite or NaN, which argmin takes for code 0; over infinity it is
    // 0.
    *factor = scale.divisor == 0 ? std::numeric_limits<float>::infinity() : scale.divisor;
    // Far beyond 6 the distances to all codes round to the same, and argmin takes the first.
    return max_magnitude <= scale.divisor * 0x1p20f || scale.divisor == 0;
  } else {
    // The quotient by a power of two is the product with its inverse while that is a normal number.
    if (scale.divisor < 0x1p-126f) return false;
    *factor = 1.0f / scale.divisor;
    return true;
  }
}

/// Index into kFp4OfQuarters (bits 0-6) and sign (bit 7) of each quotient x. `kTie` is half a unit
/// in the last place of the dtype x has yet to be rounded to: x rounds above a midpoint m exactly
/// if bits(x) > bits(m) + kTie, because m is even there.
template <std::uint32_t kTie>
HWY_INLINE Bits fp4_quarters(Floats x) {
  const Bits u = bits_of(x);
  const Bits magnitude = hn::And(u, set_bits(0x7FFFFFFF));
  // Ties go to the smaller magnitude, so count how many quarters lie strictly below: take one unit
  // off, multiply by 4 in the exponent, cut off the fraction. Tiny x borrows from the 4 and stays
  // tiny.
  const Floats quarters = float_of(hn::Add(magnitude, set_bits((2u << 23) - 1 - kTie)));
  const auto floor = hn::ConvertTo(IntTag(), hn::Min(quarters, set_float(28.0f)));
  const Bits sign = hn::And(hn::ShiftRight<24>(u), set_bits(0x80));
  return hn::Or(hn::BitCast(BitsTag(), floor), sign);
}

// FP4 magnitude by quarters of x below 4; from 4 on it is 6, above 5 it is 7.
HWY_ALIGN inline constexpr std::uint8_t kFp4OfQuarters[16] = {0, 1, 1, 2, 2, 3, 3, 4,
                                                              4, 4, 5, 5, 5, 5, 6, 6};

/// Quarters with signs to FP4 codes, in place; `bytes` holds whole vectors.
HWY_INLINE void fp4_codes(std::uint8_t* bytes, std::size_t n) {
  const hn::ScalableTag<std::uint8_t> d;
  const auto table = hn::LoadDup128(d, kFp4OfQuarters);
  for (std::size_t i = 0; i < n; i += hn::Lanes(d)) {
    const auto v = hn::Load(d, bytes + i);
    const auto quarters = hn::And(v, hn::Set(d, 0x7F));
    const auto low = hn::TableLookupBytes(table, hn::Min(quarters, hn::Set(d, 15)));
    const auto code =
        hn::Add(low, hn::IfThenElseZero(hn::Gt(quarters, hn::Set(d, 19)), hn::Set(d, 1)));
    // argmin meets +0 before -0, so nothing becomes code 8.
    const auto negative = hn::And(hn::Gt(v, quarters), hn::Gt(code, hn::Zero(d)));
    hn::Store(hn::Or(code, hn::IfThenElseZero(negative, hn::Set(d, 8))), d, bytes + i);
  }
}

/// ref::fp8_from_f32 on lanes.
HWY_INLINE Bits fp8_codes(Floats x) {
  const Bits u = bits_of(x);
  const Bits magnitude = hn::And(u, set_bits(0x7FFFFFFF));
  const Bits low = hn::Sub(bits_of(hn::Add(float_of(magnitude), set_float(0x1p14f))),
                           set_bits(ref::bits_of(0x1p14f)));
  const Bits odd = hn::And(hn::ShiftRight<20>(magnitude), set_bits(1));
  const Bits high =
      hn::ShiftRight<20>(hn::Add(hn::Add(magnitude, odd), set_bits(0x7FFFFu - (120u << 23))));
  const Bits code = hn::IfThenElse(hn::Lt(magnitude, set_bits(ref::bits_of(0x1p-6f))), low, high);
  const Bits capped = hn::Min(code, set_bits(0x7E));
  return hn::Or(capped, hn::And(hn::ShiftRight<24>(u), set_bits(0x80)));
}

template <Mode kMode, DType kType>
HWY_INLINE void find_group_codes(const std::uint8_t* HWY_RESTRICT from, float factor,
                                 std::uint8_t* HWY_RESTRICT codes) {
  constexpr std::uint32_t kHalfUnit = kType == DType::kF32    ? 0
                                      : kType == DType::kBF16 ? 0x8000
                                                              : 0x1000;
  const Floats f = set_float(factor);
  for (std::size_t i = 0; i < kGroupOf<kMode>; i += kLanes) {
    const Floats w = load_floats<kType>(from + i * kBytes<kType>);
    if constexpr (kMode == Mode::kNvfp4) {
      store_low_bytes(fp4_quarters<kHalfUnit>(hn::Div(w, f)), codes + i);
    } else if constexpr (kMode == Mode::kMxfp4) {
      store_low_bytes(fp4_quarters<0>(hn::Mul(w, f)), codes + i);
    } else {
      store_low_bytes(fp8_codes(hn::Mul(w, f)), codes + i);
    }
  }
}

template <Mode kMode, DType kType>
std::size_t quantize_blocks(const Scheme& scheme, const std::uint8_t* weights, std::size_t n,
                            QuantizedOut out) {
  constexpr std::size_t kGroup = kGroupOf<kMode>;
  constexpr std::size_t kGroupBytes = kGroup * kBytes<kType>;
  constexpr std::size_t kGroupCodeBytes = kGroup / 8 * kBitsOf<kMode>;
  constexpr std::size_t kBlockGroups = kBlockCodes / kGroup;
  auto* codes = static_cast<std::uint8_t*>(out.codes);
  auto* scales = static_cast<std::uint8_t*>(out.scales);
  HWY_ALIGN std::uint8_t block[kBlockCodes + 64] = {};
  float factors[kBlockGroups];
  std::uint32_t max_bits[kBlockGroups];
  std::size_t for_reference[kBlockGroups];
  std::size_t non_finite = 0;
  for (std::size_t done = 0; done < n;) {
    const std::size_t now = std::min(kBlockCodes, n - done);
    const std::size_t n_groups = now / kGroup;
    std::size_t n_for_reference = 0;
    for (std::size_t g = 0; g < n_groups; ++g) {
      max_bits[g] = max_magnitude_bits<kType, kGroup>(weights + g * kGroupBytes);
    }
    for (std::size_t g = 0; g < n_groups; ++g) {
      for_reference[n_for_reference] = g;
      const bool exact = choose_factor<kMode, kType>(max_bits[g], scales + g, factors + g);
      n_for_reference += exact ? 0 : 1;
    }
    for (std::size_t g = 0; g < n_groups; ++g) {
      find_group_codes<kMode, kType>(weights + g * kGroupBytes, factors[g], block + g * kGroup);
    }
    if constexpr (kBitsOf<kMode> == 4) fp4_codes(block, now);
    pack_codes<kBitsOf<kMode>>(block, now, codes);
    for (std::size_t k = 0; k < n_for_reference; ++k) {
      const std::size_t g = for_reference[k];
      non_finite += ref::quantize(scheme, weights + g * kGroupBytes, kType, kGroup,
                                  {codes + g * kGroupCodeBytes, scales + g, nullptr});
    }
    done += now;
    weights += n_groups * kGroupBytes;
    codes += n_groups * kGroupCodeBytes;
    scales += n_groups;
  }
  return non_finite;
}

// Twice the magnitude of each FP4 code; bit 7 is the sign.
HWY_ALIGN inline constexpr std::uint8_t kFp4Doubled[16] = {
    0, 1, 2, 3, 4, 6, 8, 12, 0x80, 0x81, 0x82, 0x83, 0x84, 0x86, 0x88, 0x8C};

template <Mode kMode, DType kType>
HWY_INLINE void dequantize_group(const std::uint8_t* HWY_RESTRICT codes, float scale,
                                 std::uint8_t* HWY_RESTRICT to) {
  for (std::size_t i = 0; i < kGroupOf<kMode>; i += kLanes) {
    const Bits code = hn::PromoteTo(BitsTag(), hn::LoadU(ByteTag(), codes + i));
    const Bits magnitude = hn::And(code, set_bits(0x7F));
    const Bits sign = hn::ShiftLeft<24>(hn::Xor(code, magnitude));
    Floats product;
    if constexpr (kMode == Mode::kMxfp8) {
      // E4M3 bits placed as F32 are the value times 2^-120, exactly.
      const Bits placed = hn::IfThenElse(hn::Eq(magnitude, set_bits(0x7F)),
                                         set_bits(ref::kQuietNanF32), hn::ShiftLeft<20>(magnitude));
      const Floats value = hn::Mul(float_of(placed), set_float(0x1p120f));
      product = hn::Mul(float_of(hn::Or(bits_of(value), sign)), set_float(scale));
    } else {
      const Floats doubled = hn::ConvertTo(FloatTag(), hn::BitCast(IntTag(), magnitude));
      product = hn::Mul(float_of(hn::Or(bits_of(doubled), sign)), set_float(0.5f * scale));
    }
    store_floats<kType>(product, to + i * kBytes<kType>);
  }
}

template <Mode kMode, DType kType>
void dequantize_blocks(QuantizedIn in, std::size_t n, std::uint8_t* to) {
  constexpr std::size_t kGroup = kGroupOf<kMode>;
  const auto* codes = static_cast<const std::uint8_t*>(in.codes);
  const auto* scales = static_cast<const std::uint8_t*>(in.scales);
  float scale_values[256];
  for (unsigned byte = 0; byte < 256; ++byte) {
    scale_values[byte] = ref::block_scale_value(kMode, kType, static_cast<std::uint8_t>(byte));
  }
  HWY_ALIGN std::uint8_t block[kBlockCodes + 64] = {};
  for (std::size_t done = 0; done < n;) {
    const std::size_t now = std::min(kBlockCodes, n - done);
    unpack_codes<kBitsOf<kMode>>(codes, now, block);
    if constexpr (kBitsOf<kMode> == 4) {
      const hn::ScalableTag<std::uint8_t> d;
      const auto table = hn::LoadDup128(d, kFp4Doubled);
      for (std::size_t i = 0; i < now; i += hn::Lanes(d)) {
        hn::Store(hn::TableLookupBytes(table, hn::Load(d, block + i)), d, block + i);
      }
    }
    for (std::size_t i = 0; i < now; i += kGroup) {
      dequantize_group<kMode, kType>(block + i, scale_values[*scales++], to + i * kBytes<kType>);
    }
    done += now;
    codes += now / 8 * kBitsOf<kMode>;
    to += now * kBytes<kType>;
  }
}

template <DType kType>
std::size_t quantize_typed(const Scheme& scheme, const void* weights, std::size_t n,
                           QuantizedOut out) {
  const auto* from = static_cast<const std::uint8_t*>(weights);
  switch (scheme.mode) {
    case Mode::kMxfp4:
      return quantize_blocks<Mode::kMxfp4, kType>(scheme, from, n, out);
    case Mode::kNvfp4:
      return quantize_blocks<Mode::kNvfp4, kType>(scheme, from, n, out);
    default:
      return quantize_blocks<Mode::kMxfp8, kType>(scheme, from, n, out);
  }
}

template <DType kType>
void dequantize_typed(const Scheme& scheme, QuantizedIn in, std::size_t n, void* weights) {
  auto* to = static_cast<std::uint8_t*>(weights);
  switch (scheme.mode) {
    case Mode::kMxfp4:
      return dequantize_blocks<Mode::kMxfp4, kType>(in, n, to);
    case Mode::kNvfp4:
      return dequantize_blocks<Mode::kNvfp4, kType>(in, n, to);
    default:
      return dequantize_blocks<Mode::kMxfp8, kType>(in, n, to);
  }
}

std::size_t quantize_block_float_here(const Scheme& scheme, const void* weights, DType type,
                                      std::size_t n, QuantizedOut out) {
  record_target(HWY_TARGET);
  switch (type) {
    case DType::kF16:
      return quantize_typed<DType::kF16>(scheme, weights, n, out);
    case DType::kBF16:
      return quantize_typed<DType::kBF16>(scheme, weights, n, out);
    default:
      return quantize_typed<DType::kF32>(scheme, weights, n, out);
  }
}

void dequantize_block_float_here(const Scheme& scheme, QuantizedIn in, DType type, std::size_t n,
                                 void* weights) {
  record_target(HWY_TARGET);
  switch (type) {
    case DType::kF16:
      return dequantize_typed<DType::kF16>(scheme, in, n, weights);
    case DType::kBF16:
      return dequantize_typed<DType::kBF16>(scheme, in, n, weights);
    default:
      return dequantize_typed<DType::kF32>(scheme, in, n, weights);
  }
}

#else

std::size_t quantize_block_float_here(const Scheme& scheme, const void* weights, DType type,
                                      std::size_t n, QuantizedOut out) {
  record_target(HWY_TARGET);
  return ref::quantize(scheme, weights, type, n, out);
}

void dequantize_block_float_here(const Scheme& scheme, QuantizedIn in, DType type, std::size_t n,
                                 void* weights) {
  record_target(HWY_TARGET);
  ref::dequantize(scheme, in, type, n, weights);
}

#endif  // MLXMILL_TARGET_HAS_VECTORS

}  // namespace
}  // namespace HWY_NAMESPACE
}  // namespace mlxmill::kernels
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace mlxmill::kernels {

HWY_EXPORT(quantize_block_float_here);
HWY_EXPORT(dequantize_block_float_here);

std::size_t quantize_block_float(const Scheme& scheme, const void* weights, DType type,
                                 std::size_t n, QuantizedOut out) {
  return HWY_DYNAMIC_DISPATCH(quantize_block_float_here)(scheme, weights, type, n, out);
}

void dequantize_block_float(const Scheme& scheme, QuantizedIn in, DType type, std::size_t n,
                            void* weights) {
  HWY_DYNAMIC_DISPATCH(dequantize_block_float_here)(scheme, in, type, n, weights);
}

}  // namespace mlxmill::kernels
#endif  // HWY_ONCE
