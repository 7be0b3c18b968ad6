// The affine codec. A block of groups goes through four passes that stay in the cache: ranges,
// scale and bias (groups in lanes), codes as bytes, packing.
#include "kernels/targets.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/affine.cc"
#include <hwy/foreach_target.h>
#include <hwy/highway.h>

#include <algorithm>
#include <cstring>

#include "kernels/active_target.h"
#include "kernels/codecs.h"
#include "kernels/codes-inl.h"
#include "kernels/floats-inl.h"
#include "kernels/ref/ref.h"

HWY_BEFORE_NAMESPACE();
namespace mlxmill::kernels {
namespace HWY_NAMESPACE {
namespace {

#if MLXMILL_TARGET_HAS_VECTORS

// Adding it rounds 0 <= x < 2^22 to an integer, ties to even, and leaves that in the low bits.
inline constexpr float kRounder = 0x1p23f;

inline constexpr std::size_t kBlockGroups = kBlockCodes / 32;

struct AffineBlock {
  HWY_ALIGN float w_min[kBlockGroups];
  HWY_ALIGN float w_max[kBlockGroups];
  HWY_ALIGN float scale[kBlockGroups];
  HWY_ALIGN float bias[kBlockGroups];
  HWY_ALIGN std::uint8_t stored[kBlockGroups * 4];
  HWY_ALIGN std::uint8_t codes[kBlockCodes + 64];
  bool non_finite[kBlockGroups];
};

/// Smallest and largest weight of each group; returns whether any weight is not finite.
template <DType kType, std::size_t kGroup>
HWY_INLINE bool find_ranges(const std::uint8_t* HWY_RESTRICT weights, std::size_t n_groups,
                            AffineBlock& block) {
  const FloatTag d;
  Bits any = hn::Zero(BitsTag());
  for (std::size_t g = 0; g < n_groups; ++g) {
    const std::uint8_t* from = weights + g * kGroup * kBytes<kType>;
    Floats low = load_floats<kType>(from);
    Floats high = low;
    Bits bad = bits_of(hn::Sub(low, low));  // NaN from NaN and infinity, else +0
    for (std::size_t i = kLanes; i < kGroup; i += kLanes) {
      const Floats w = load_floats<kType>(from + i * kBytes<kType>);
      low = hn::Min(low, w);
      high = hn::Max(high, w);
      bad = hn::Or(bad, bits_of(hn::Sub(w, w)));
    }
    block.w_min[g] = hn::GetLane(hn::MinOfLanes(d, low));
    block.w_max[g] = hn::GetLane(hn::MaxOfLanes(d, high));
    any = hn::Or(any, bad);
    block.non_finite[g] = !hn::AllTrue(BitsTag(), hn::Eq(bad, hn::Zero(BitsTag())));
  }
  return !hn::AllTrue(BitsTag(), hn::Eq(any, hn::Zero(BitsTag())));
}

HWY_INLINE Floats round_to_integer(Floats x) {
  const Floats magnitude = hn::Abs(x);
  const Floats rounder = set_float(kRounder);
  const Floats rounded = hn::Sub(hn::Add(magnitude, rounder), rounder);
  return hn::CopySignToAbs(hn::IfThenElse(hn::Lt(magnitude, rounder), rounded, magnitude), x);
}

/// Scale and bias of each group, as in ref/affine.cc.
HWY_INLINE void choose_scales(std::size_t n_groups, float n_bins, AffineBlock& block) {
  const FloatTag d;
  for (std::size_t g = 0; g < n_groups; g += kLanes) {
    const Floats low = hn::Load(d, block.w_min + g);
    const Floats high = hn::Load(d, block.w_max + g);
    const auto negative_edge = hn::Gt(hn::Abs(low), hn::Abs(high));
    const Floats step = hn::Max(hn::Div(hn::Sub(high, low), set_float(n_bins)), set_float(1e-7f));
    const Floats scale = hn::IfThenElse(negative_edge, step, hn::Neg(step));
    const Floats edge = hn::IfThenElse(negative_edge, low, high);
    const Floats q0 = round_to_integer(hn::Div(edge, scale));
    const auto zero = hn::Eq(q0, hn::Zero(d));
    hn::Store(hn::IfThenElse(zero, scale, hn::Div(edge, q0)), d, block.scale + g);
    hn::Store(hn::IfThenZeroElse(zero, edge), d, block.bias + g);
  }
}

template <DType kType>
HWY_INLINE void write_parameters(const float* values, std::size_t n_groups, std::uint8_t* staging,
                                 std::uint8_t* to) {
  for (std::size_t g = 0; g < n_groups; g += kLanes) {
    store_floats<kType>(hn::Load(FloatTag(), values + g), staging + g * kBytes<kType>);
  }
  std::memcpy(to, staging, n_groups * kBytes<kType>);
}

template <DType kType, std::size_t kGroup>
HWY_INLINE void find_codes(const std::uint8_t* HWY_RESTRICT weights, std::size_t n_groups,
                           float n_bins, AffineBlock& block) {
  const Floats zero = hn::Zero(FloatTag());
  const Floats top = set_float(n_bins);
  const Floats rounder = set_float(kRounder);
  for (std::size_t g = 0; g < n_groups; ++g) {
    const Floats scale = set_float(block.scale[g]);
    const Floats bias = set_float(block.bias[g]);
    for (std::size_t i = g * kGroup; i < (g + 1) * kGroup; i += kLanes) {
      const Floats w = load_floats<kType>(weights + i * kBytes<kType>);
      // Clamping first gives the same: the bounds are integers.
      const Floats q = hn::Min(hn::Max(hn::Div(hn::Sub(w, bias), scale), zero), top);
      store_low_bytes(bits_of(hn::Add(q, rounder)), block.codes + i);
    }
  }
}

HWY_NOINLINE void pack_any(int bits, const std::uint8_t* codes, std::size_t n, std::uint8_t* to) {
  switch (bits) {
    case 2:
      return pack_codes<2>(codes, n, to);
    case 3:
      return pack_codes<3>(codes, n, to);
    case 4:
      return pack_codes<4>(codes, n, to);
    case 5:
      return pack_codes<5>(codes, n, to);
    case 6:
      return pack_codes<6>(codes, n, to);
    default:
      return pack_codes<8>(codes, n, to);
  }
}

HWY_NOINLINE void unpack_any(int bits, const std::uint8_t* from, std::size_t n,
                             std::uint8_t* codes) {
  switch (bits) {
    case 2:
      return unpack_codes<2>(from, n, codes);
    case 3:
      return unpack_codes<3>(from, n, codes);
    case 4:
      return unpack_codes<4>(from, n, codes);
    case 5:
      return unpack_codes<5>(from, n, codes);
    case 6:
      return unpack_codes<6>(from, n, codes);
    default:
      return unpack_codes<8>(from, n, codes);
  }
}

template <DType kType, std::size_t kGroup>
std::size_t quantize_blocks(const Scheme& scheme, const std::uint8_t* weights, std::size_t n,
                            QuantizedOut out) {
  auto* codes = static_cast<std::uint8_t*>(out.codes);
  auto* scales = static_cast<std::uint8_t*>(out.scales);
  auto* biases = static_cast<std::uint8_t*>(out.biases);
  const auto n_bins = static_cast<float>((1 << scheme.bits) - 1);
  const std::size_t group_code_bytes = code_bytes(scheme, kGroup);
  std::size_t non_finite = 0;
  AffineBlock block;
  std::memset(&block, 0, sizeof(block));
  for (std::size_t done = 0; done < n;) {
    const std::size_t now = std::min(kBlockCodes, n - done);
    const std::size_t n_groups = now / kGroup;
    const bool any_bad = find_ranges<kType, kGroup>(weights, n_groups, block);
    choose_scales(n_groups, n_bins, block);
    write_parameters<kType>(block.scale, n_groups, block.stored, scales);
    write_parameters<kType>(block.bias, n_groups, block.stored, biases);
    find_codes<kType, kGroup>(weights, n_groups, n_bins, block);
    pack_any(scheme.bits, block.codes, now, codes);
    for (std::size_t g = 0; any_bad && g < n_groups; ++g) {
      if (!block.non_finite[g]) continue;
      non_finite += ref::quantize(
          scheme, weights + g * kGroup * kBytes<kType>, kType, kGroup,
          {codes + g * group_code_bytes, scales + g * kBytes<kType>, biases + g * kBytes<kType>});
    }
    done += now;
    weights += now * kBytes<kType>;
    codes += n_groups * group_code_bytes;
    scales += n_groups * kBytes<kType>;
    biases += n_groups * kBytes<kType>;
  }
  return non_finite;
}

template <DType kType>
std::size_t quantize_typed(const Scheme& scheme, const void* weights, std::size_t n,
                           QuantizedOut out) {
  const auto* from = static_cast<const std::uint8_t*>(weights);
  switch (scheme.group_size) {
    case 32:
      return quantize_blocks<kType, 32>(scheme, from, n, out);
    case 64:
      return quantize_blocks<kType, 64>(scheme, from, n, out);
    default:
      return quantize_blocks<kType, 128>(scheme, from, n, out);
  }
}

template <DType kType>
void dequantize_typed(const Scheme& scheme, QuantizedIn in, std::size_t n, void* weights) {
  const auto group_size = static_cast<std::size_t>(scheme.group_size);
  const auto* codes = static_cast<const std::uint8_t*>(in.codes);
  auto* to = static_cast<std::uint8_t*>(weights);
  HWY_ALIGN std::uint8_t block[kBlockCodes + 64];
  std::size_t group = 0;
  for (std::size_t done = 0; done < n;) {
    const std::size_t now = std::min(kBlockCodes, n - done);
    unpack_any(scheme.bits, codes, now, block);
    for (std::size_t i = 0; i < now; i += group_size, ++group) {
      const Floats scale = set_float(ref::load(kType, in.scales, group));
      const Floats bias = set_float(ref::load(kType, in.biases, group));
      for (std::size_t j = i; j < i + group_size; j += kLanes) {
        const auto code = hn::PromoteTo(IntTag(), hn::LoadU(ByteTag(), block + j));
        const Floats product = round_floats<kType>(hn::Mul(hn::ConvertTo(FloatTag(), code), scale));
        store_floats<kType>(hn::Add(product, bias), to + j * kBytes<kType>);
      }
    }
    done += now;
    codes += code_bytes(scheme, now);
    to += now * kBytes<kType>;
  }
}

std::size_t quantize_affine_here(const Scheme& scheme, const void* weights, DType type,
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

void dequantize_affine_here(const Scheme& scheme, QuantizedIn in, DType type, std::size_t n,
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

std::size_t quantize_affine_here(const Scheme& scheme, const void* weights, DType type,
                                 std::size_t n, QuantizedOut out) {
  record_target(HWY_TARGET);
  return ref::quantize(scheme, weights, type, n, out);
}

void dequantize_affine_here(const Scheme& scheme, QuantizedIn in, DType type, std::size_t n,
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

HWY_EXPORT(quantize_affine_here);
HWY_EXPORT(dequantize_affine_here);

std::size_t quantize_affine(const Scheme& scheme, const void* weights, DType type, std::size_t n,
                            QuantizedOut out) {
  return HWY_DYNAMIC_DISPATCH(quantize_affine_here)(scheme, weights, type, n, out);
}

void dequantize_affine(const Scheme& scheme, QuantizedIn in, DType type, std::size_t n,
                       void* weights) {
  HWY_DYNAMIC_DISPATCH(dequantize_affine_here)(scheme, in, type, n, weights);
}

}  // namespace mlxmill::kernels
#endif  // HWY_ONCE
