// Blocks of rows of weights for products in integers: decoded, and interleaved so that a lane of a
// vector is a row. Compiled once per target.

#if defined(MLXMILL_KERNELS_INTEGER_BLOCKS_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef MLXMILL_KERNELS_INTEGER_BLOCKS_INL_H_
#undef MLXMILL_KERNELS_INTEGER_BLOCKS_INL_H_
#else
#define MLXMILL_KERNELS_INTEGER_BLOCKS_INL_H_
#endif

#include <hwy/highway.h>

#include <algorithm>

#include "kernels/float_rows-inl.h"
#include "kernels/integer_blocks.h"
#include "kernels/integer_products-inl.h"

HWY_BEFORE_NAMESPACE();
namespace mlxmill::kernels {
namespace HWY_NAMESPACE {
namespace {

#if MLXMILL_INTEGERS_OWN && HWY_ARCH_X86 && HWY_TARGET <= HWY_SSE4

using SumTag = hn::CappedTag<std::int32_t, 8>;
using TotalTag = hn::RebindToFloat<SumTag>;

// Rows of a block: two vectors.
inline constexpr std::size_t kSumLanes = hn::MaxLanes(SumTag());
inline constexpr std::size_t kBlock = 2 * kSumLanes;
static_assert(kBlock <= integers::kBlockRows);

/// Integers of a row that share a lane.
template <class T>
inline constexpr std::size_t kPerLane = 4 / sizeof(T);

// Beside bytes of x, FP4 counts from its least value, so that codes have no sign.
inline constexpr std::uint8_t kFp4Offset = 12;

/// A block ready to meet x.
template <class T>
struct Block {
  const T* integers;
  const float* scales;  // kBlock for each group.
  const float* biases;
  float* totals;  // kBlock for each row of x.
};

/// Codes of a row as bytes: where they are stored, or decoded to `to`.
template <class T, int kBits, Code kCode>
const std::uint8_t* bytes_of_row(const MatrixView& w, std::size_t n, std::uint8_t* to) {
  const std::uint8_t* row = weight_row(w, n);
  if constexpr (kBits == 8) return row;
  for (std::size_t k = 0; k < w.cols; k += kBlockCodes) {
    block_of_codes<kBits, kCode>(row, k, std::min(kBlockCodes, w.cols - k), to + k);
  }
  if constexpr (sizeof(T) == 1 && kCode == Code::kFp4) {
    for (std::size_t k = 0; k < w.cols; ++k) to[k] = static_cast<std::uint8_t>(to[k] + kFp4Offset);
  }
  return to;
}

/// Sixteen bytes each of eight rows to 16 bits, two neighbours of each row together.
template <Code kCode>
HWY_INLINE void interleave(const std::uint8_t* const* rows, std::size_t k, std::int16_t* to) {
  const hn::Full128<std::uint16_t> d;
  const hn::Full128<std::uint32_t> d32;
  const hn::Full128<std::uint64_t> d64;
  const hn::Full128<std::uint8_t> bytes;
  hn::Vec<decltype(d)> a[8], b[8];
  for (std::size_t r = 0; r < 8; ++r) a[r] = hn::BitCast(d, hn::LoadU(bytes, rows[r] + k));
  for (std::size_t r = 0; r < 4;
       ++r) {  // Pairs of rows 2 r and 2 r + 1, low columns then high ones.
    b[r] = hn::InterleaveLower(d, a[2 * r], a[2 * r + 1]);
    b[r + 4] = hn::InterleaveUpper(d, a[2 * r], a[2 * r + 1]);
  }
  for (std::size_t half = 0; half < 8; half += 4) {
    for (std::size_t r = 0; r < 2; ++r) {
      const auto x = hn::BitCast(d32, b[half + 2 * r]);
      const auto y = hn::BitCast(d32, b[half + 2 * r + 1]);
      a[half + r] = hn::BitCast(d, hn::InterleaveLower(d32, x, y));
      a[half + r + 2] = hn::BitCast(d, hn::InterleaveUpper(d32, x, y));
    }
    for (std::size_t r = 0; r < 4; r += 2) {
      const auto x = hn::BitCast(d64, a[half + r]);
      const auto y = hn::BitCast(d64, a[half + r + 1]);
      b[half + r] = hn::BitCast(d, hn::InterleaveLower(d64, x, y));
      b[half + r + 1] = hn::BitCast(d, hn::InterleaveUpper(d64, x, y));
    }
  }
  using Narrow = std::conditional_t<kCode == Code::kFp4, std::int8_t, std::uint8_t>;
  const hn::Full128<std::int16_t> wide;
  const hn::Full64<Narrow> narrow;
  for (std::size_t pair = 0; pair < 8; ++pair) {
    const auto v = hn::BitCast(hn::Full128<Narrow>(), b[pair]);
    std::int16_t* at = to + pair * 2 * kBlock;
    hn::StoreU(hn::PromoteTo(wide, hn::LowerHalf(narrow, v)), wide, at);
    hn::StoreU(hn::PromoteTo(wide, hn::UpperHalf(narrow, v)), wide, at + 8);
  }
}

/// Sixteen bytes each of eight rows, four neighbours of each row together.
template <Code kCode>
HWY_INLINE void interleave(const std::uint8_t* const* rows, std::size_t k, std::int8_t* to) {
  const hn::Full128<std::uint32_t> d;
  const hn::Full128<std::uint64_t> d64;
  const hn::Full128<std::uint8_t> bytes;
  for (std::size_t quad = 0; quad < 8; quad += 4) {
    hn::Vec<decltype(d)> a[4];
    for (std::size_t r = 0; r < 4; ++r) {
      a[r] = hn::BitCast(d, hn::LoadU(bytes, rows[quad + r] + k));
    }
    for (std::size_t high = 0; high < 2; ++high) {
      const auto pair = [&](std::size_t r) HWY_ATTR {
        return hn::BitCast(d64, high == 0 ? hn::InterleaveLower(d, a[r], a[r + 1])
                                          : hn::InterleaveUpper(d, a[r], a[r + 1]));
      };
      const auto x = pair(0);
      const auto y = pair(2);
      auto* at = reinterpret_cast<std::uint8_t*>(to) + 2 * high * 4 * kBlock + 4 * quad;
      hn::StoreU(hn::BitCast(bytes, hn::InterleaveLower(d64, x, y)), bytes, at);
      hn::StoreU(hn::BitCast(bytes, hn::InterleaveUpper(d64, x, y)), bytes, at + 4 * kBlock);
    }
  }
}

/// Decodes `count` rows from n on; what a block has beyond them repeats the last.
template <class T, int kBits, Code kCode>
Block<T> decode_block(const Product& p, const integers::BlockLayout& layout, std::size_t n,
                      std::size_t count, std::uint8_t* scratch) {
  const MatrixView& w = p.weight;
  const std::uint8_t* rows[kBlock];
  for (std::size_t r = 0; r < kBlock; ++r) {
    rows[r] = r < count ? bytes_of_row<T, kBits, kCode>(
                              w, n + r, scratch + layout.codes + r * layout.code_stride)
                        : rows[count - 1];
  }
  auto* to = reinterpret_cast<T*>(scratch + layout.interleaved);
  for (std::size_t k = 0; k < w.cols; k += 16) {
    for (std::size_t r = 0; r < kBlock; r += 8) {
      interleave<kCode>(rows + r, k, to + k * kBlock + r * kPerLane<T>);
    }
  }
  auto* scales = reinterpret_cast<float*>(scratch + layout.parameters);
  float* biases = scales + integers::parameter_room(w, count);
  load_parameters(w, n, n + count, scales, biases);
  auto* columns = reinterpret_cast<float*>(scratch + layout.columns);
  const std::size_t groups = groups_of(w);
  for (std::size_t r = 0; r < kBlock; ++r) {
    const std::size_t row = std::min(r, count - 1) * groups;
    for (std::size_t g = 0; g < groups; ++g) {
      const float scale = scales[row + g];
      columns[g * kBlock + r] = scale;
      columns[(groups + g) * kBlock + r] =
          sizeof(T) == 1 && kCode == Code::kFp4 ? -float{kFp4Offset} * scale : biases[row + g];
    }
  }
  return {to, columns, columns + groups * kBlock,
          reinterpret_cast<float*>(scratch + layout.totals)};
}

#endif  // MLXMILL_INTEGERS_OWN

}  // namespace
}  // namespace HWY_NAMESPACE
}  // namespace mlxmill::kernels
HWY_AFTER_NAMESPACE();

#endif  // include guard per target
