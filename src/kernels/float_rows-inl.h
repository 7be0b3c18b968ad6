// Elements, parameters and codes of weights as vectors of F32. Compiled once per target.

#if defined(MLXMILL_KERNELS_FLOAT_ROWS_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef MLXMILL_KERNELS_FLOAT_ROWS_INL_H_
#undef MLXMILL_KERNELS_FLOAT_ROWS_INL_H_
#else
#define MLXMILL_KERNELS_FLOAT_ROWS_INL_H_
#endif

#include <hwy/highway.h>

#include "kernels/codes-inl.h"
#include "kernels/float_rows.h"
#include "kernels/floats-inl.h"
#include "kernels/ref/block_float.h"
#include "kernels/widen-inl.h"

HWY_BEFORE_NAMESPACE();
namespace mlxmill::kernels {
namespace HWY_NAMESPACE {
namespace {

#if MLXMILL_TARGET_HAS_VECTORS

/// The sum of n elements, a multiple of 16.
HWY_INLINE float sum_of_floats(const float* x, std::size_t n) {
  Floats sum = hn::Zero(FloatTag());
  for (std::size_t k = 0; k < n; k += kLanes) sum = hn::Add(sum, hn::LoadU(FloatTag(), x + k));
  return hn::GetLane(hn::SumOfLanes(FloatTag(), sum));
}

// What the bytes of unpacked codes stand for.
enum class Code { kInteger, kFp4, kFp8 };

HWY_INLINE Code code_kind(const MatrixView& w) {
  if (w.scheme->mode == Mode::kAffine) return Code::kInteger;
  return w.scheme->mode == Mode::kMxfp8 ? Code::kFp8 : Code::kFp4;
}

// The value of each FP4 code, doubled to be an integer.
HWY_ALIGN inline constexpr std::int8_t kFp4Doubled[16] = {0, 1,  2,  3,  4,  6,  8,  12,
                                                          0, -1, -2, -3, -4, -6, -8, -12};

/// Codes of a row as bytes, in blocks of kBlockCodes; `buffer` holds kFloatCodesRoom.
template <int kBits, Code kCode>
HWY_INLINE const std::uint8_t* block_of_codes(const std::uint8_t* row, std::size_t first,
                                              std::size_t n, std::uint8_t* buffer) {
  const std::uint8_t* from = row + first / 8 * kBits;
  if constexpr (kBits == 8) return from;
  if constexpr (kBits == 4) {
    // Interleaving works within 128 bits, so that is how much is taken.
    const hn::CappedTag<std::uint8_t, 16> d;
    const auto low = hn::Set(d, 15);
    const auto table = hn::LoadU(d, reinterpret_cast<const std::uint8_t*>(kFp4Doubled));
    const auto value = [&](auto codes) HWY_ATTR {
      return kCode == Code::kFp4 ? hn::TableLookupBytes(table, codes) : codes;
    };
    std::size_t i = 0;
    for (; i + 32 <= n; i += 32) {
      const auto v = hn::LoadU(d, from + i / 2);
      const hn::Repartition<std::uint16_t, decltype(d)> words;
      const auto a = hn::And(v, low);
      const auto b = hn::And(hn::BitCast(d, hn::ShiftRight<4>(hn::BitCast(words, v))), low);
      hn::Store(value(hn::InterleaveLower(d, a, b)), d, buffer + i);
      hn::Store(value(hn::InterleaveUpper(d, a, b)), d, buffer + i + 16);
    }
    if (i < n) {
      // Sixteen more codes: a lone group of nvfp4.
      const hn::CappedTag<std::uint8_t, 8> half;
      const auto v = hn::ZeroExtendVector(d, hn::LoadU(half, from + i / 2));
      const hn::Repartition<std::uint16_t, decltype(d)> words;
      const auto a = hn::And(v, low);
      const auto b = hn::And(hn::BitCast(d, hn::ShiftRight<4>(hn::BitCast(words, v))), low);
      hn::Store(value(hn::InterleaveLower(d, a, b)), d, buffer + i);
    }
  } else {
    unpack_codes<kBits>(from, n, buffer);
  }
  return buffer;
}

/// kLanes codes as the numbers they stand for; FP4 comes as the integers of kFp4Doubled.
template <Code kCode>
HWY_INLINE Floats code_values(const std::uint8_t* codes) {
  const auto bytes = hn::LoadU(ByteTag(), codes);
  if constexpr (kCode == Code::kInteger) {
    return hn::ConvertTo(FloatTag(), hn::PromoteTo(IntTag(), bytes));
  } else if constexpr (kCode == Code::kFp4) {
    const hn::Rebind<std::int8_t, FloatTag> d;
    return hn::ConvertTo(FloatTag(), hn::PromoteTo(IntTag(), hn::BitCast(d, bytes)));
  } else {
    const Bits code = hn::PromoteTo(BitsTag(), bytes);
    const Bits magnitude = hn::And(code, set_bits(0x7F));
    const Bits normal = hn::Add(hn::ShiftLeft<20>(magnitude), set_bits(120u << 23));
    // Units of 2^-9; F32 subnormals would cost an assist each.
    const Floats subnormal =
        hn::Mul(hn::ConvertTo(FloatTag(), hn::BitCast(IntTag(), magnitude)), set_float(0x1p-9f));
    const Bits value = hn::IfThenElse(hn::Lt(magnitude, set_bits(8)), bits_of(subnormal), normal);
    const Bits both = hn::Or(value, hn::ShiftLeft<24>(hn::Xor(code, magnitude)));
    return float_of(
        hn::IfThenElse(hn::Eq(magnitude, set_bits(0x7F)), set_bits(ref::kQuietNanF32), both));
  }
}
template <Code kCode>
inline constexpr float kUnit = kCode == Code::kFp4 ? 0.5f : 1.0f;

/// Calls f<bits, code>() for a quantized weight.
template <class F>
HWY_INLINE void with_codes(const MatrixView& w, const F& f) {
  if (code_kind(w) == Code::kFp4) return f.template operator()<4, Code::kFp4>();
  if (code_kind(w) == Code::kFp8) return f.template operator()<8, Code::kFp8>();
  switch (w.scheme->bits) {
    case 2:
      return f.template operator()<2, Code::kInteger>();
    case 3:
      return f.template operator()<3, Code::kInteger>();
    case 4:
      return f.template operator()<4, Code::kInteger>();
    case 5:
      return f.template operator()<5, Code::kInteger>();
    case 6:
      return f.template operator()<6, Code::kInteger>();
    default:
      return f.template operator()<8, Code::kInteger>();
  }
}

#endif  // MLXMILL_TARGET_HAS_VECTORS

}  // namespace
}  // namespace HWY_NAMESPACE
}  // namespace mlxmill::kernels
HWY_AFTER_NAMESPACE();

#endif  // include guard per target
