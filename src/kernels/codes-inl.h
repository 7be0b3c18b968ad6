// Bytes of codes to and from the packed bit stream of ref/codes.h: 8 codes are one 64-bit lane,
// whose bits three shifts gather or spread. Compiled once per target.

#if defined(MLXMILL_KERNELS_CODES_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef MLXMILL_KERNELS_CODES_INL_H_
#undef MLXMILL_KERNELS_CODES_INL_H_
#else
#define MLXMILL_KERNELS_CODES_INL_H_
#endif

#include <hwy/highway.h>

#include <cstddef>
#include <cstdint>
#include <cstring>

HWY_BEFORE_NAMESPACE();
namespace mlxmill::kernels {
namespace HWY_NAMESPACE {

#if MLXMILL_TARGET_HAS_VECTORS

namespace hn = hwy::HWY_NAMESPACE;

// Codes are processed in blocks that stay in the first-level cache. Block buffers are whole
// vectors, so the last vector of a short block may work on stale bytes that are never stored.
inline constexpr std::size_t kBlockCodes = 4096;

/// Fields of zero-extended codes: `low_fields` marks every second one, which stays; the others move
/// kShift bits down to join it.
template <int kShift, class D, class V>
HWY_INLINE V join_fields(D d, V x, std::uint64_t low_fields) {
  const V low = hn::And(x, hn::Set(d, low_fields));
  return hn::Or(low, hn::ShiftRight<kShift>(hn::Xor(x, low)));
}

/// The inverse: `low_fields` marks what stays, the rest moves kShift bits up.
template <int kShift, class D, class V>
HWY_INLINE V part_fields(D d, V x, std::uint64_t low_fields) {
  const V low = hn::And(x, hn::Set(d, low_fields));
  return hn::Or(low, hn::ShiftLeft<kShift>(hn::Xor(x, low)));
}

/// Packs n bytes (n <= kBlockCodes, a multiple of 8) to n / 8 * kBits bytes at `to`.
template <int kBits>
HWY_INLINE void pack_codes(const std::uint8_t* HWY_RESTRICT codes, std::size_t n,
                           std::uint8_t* HWY_RESTRICT to) {
  if constexpr (kBits == 8) {
    std::memcpy(to, codes, n);
  } else {
    const hn::ScalableTag<std::uint64_t> d;
    const std::size_t lanes = hn::Lanes(d);
    HWY_ALIGN std::uint64_t packed[8];
    for (std::size_t i = 0; i < n; i += lanes * 8) {
      auto x = hn::BitCast(d, hn::LoadU(hn::Repartition<std::uint8_t, decltype(d)>(), codes + i));
      x = join_fields<8 - kBits>(d, x, 0x00FF00FF00FF00FFull);
      x = join_fields<16 - 2 * kBits>(d, x, 0x0000FFFF0000FFFFull);
      x = join_fields<32 - 4 * kBits>(d, x, 0x00000000FFFFFFFFull);
      const std::size_t left = (n - i) / 8;
      if constexpr (kBits == 4) {
        if (left >= lanes) {
          const hn::Rebind<std::uint32_t, decltype(d)> words;
          const hn::Repartition<std::uint8_t, decltype(words)> bytes;
          hn::StoreU(hn::BitCast(bytes, hn::TruncateTo(words, x)), bytes, to + i / 2);
          continue;
        }
      }
      hn::Store(x, d, packed);
      for (std::size_t k = 0; k < (left < lanes ? left : lanes); ++k) {
        std::memcpy(to + (i / 8 + k) * kBits, &packed[k], kBits);
      }
    }
  }
}

/// In each 16 bytes of a vector, 16 bytes from where the next 16 codes of kBits start.
template <int kBits, class D>
HWY_INLINE hn::Vec<D> load_codes(D d, const std::uint8_t* from) {
  if constexpr (hn::MaxLanes(d) <= 16) {
    return hn::LoadU(d, from);
  } else {
    const hn::Half<D> half;
    return hn::Combine(d, load_codes<kBits>(half, from + hn::MaxLanes(half) / 8 * kBits),
                       load_codes<kBits>(half, from));
  }
}

/// Of 16 bytes, kBits to the low bytes of each 64-bit lane; the rest is zero.
template <int kBits>
struct SpreadToLanes {
  alignas(16) std::uint8_t bytes[16];
  constexpr SpreadToLanes() : bytes{} {
    for (int k = 0; k < 16; ++k) {
      bytes[k] = static_cast<std::uint8_t>(k % 8 < kBits ? k / 8 * kBits + k % 8 : 0x80);
    }
  }
};

/// Codes in the low bits of 64-bit lanes, eight each, to a byte each.
template <int kBits, class D, class V>
HWY_INLINE V spread_codes_of_lanes(D d, V x) {
  x = part_fields<32 - 4 * kBits>(d, x, (1ull << 4 * kBits) - 1);
  x = part_fields<16 - 2 * kBits>(d, x, ((1ull << 2 * kBits) - 1) * 0x0000000100000001ull);
  return part_fields<8 - kBits>(d, x, ((1ull << kBits) - 1) * 0x0001000100010001ull);
}

/// The inverse of pack_codes. `codes` holds kBlockCodes bytes.
template <int kBits>
HWY_INLINE void unpack_codes(const std::uint8_t* HWY_RESTRICT from, std::size_t n,
                             std::uint8_t* HWY_RESTRICT codes) {
  if constexpr (kBits == 8) {
    std::memcpy(codes, from, n);
  } else {
    const hn::ScalableTag<std::uint64_t> d;
    const hn::Repartition<std::uint8_t, decltype(d)> bytes;
    const std::size_t lanes = hn::Lanes(d);
    const std::size_t all = n / 8 * kBits;
    // What the last 16 bytes of a vector reach to; those are read whole.
    const std::size_t reach = (lanes - 2) * kBits + 16;
    static constexpr SpreadToLanes<kBits> kSpread;
    const auto spread = hn::LoadDup128(bytes, kSpread.bytes);
    std::size_t i = 0;
    for (; i + lanes * 8 <= n && i / 8 * kBits + reach <= all; i += lanes * 8) {
      const auto raw =
          hn::TableLookupBytesOr0(load_codes<kBits>(bytes, from + i / 8 * kBits), spread);
      hn::StoreU(hn::BitCast(bytes, spread_codes_of_lanes<kBits>(d, hn::BitCast(d, raw))), bytes,
                 codes + i);
    }
    HWY_ALIGN std::uint64_t packed[8] = {};
    for (; i < n; i += lanes * 8) {
      const std::size_t left = (n - i) / 8;
      for (std::size_t k = 0; k < (left < lanes ? left : lanes); ++k) {
        std::memcpy(&packed[k], from + (i / 8 + k) * kBits, kBits);
      }
      hn::StoreU(hn::BitCast(bytes, spread_codes_of_lanes<kBits>(d, hn::Load(d, packed))), bytes,
                 codes + i);
    }
  }
}

#endif  // MLXMILL_TARGET_HAS_VECTORS

}  // namespace HWY_NAMESPACE
}  // namespace mlxmill::kernels
HWY_AFTER_NAMESPACE();

#endif  // include guard per target
