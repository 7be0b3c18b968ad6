// Transposition: squares of 16 bytes by 16 / element_bytes rows in registers, in bands of rows that
// fill whole cache lines of the destination.
#include "kernels/targets.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/transpose.cc"
#include <hwy/foreach_target.h>
#include <hwy/highway.h>

#include <algorithm>
#include <cstdint>

#include "kernels/active_target.h"
#include "kernels/kernels.h"
#include "kernels/ref/ref.h"

HWY_BEFORE_NAMESPACE();
namespace mlxmill::kernels {
namespace HWY_NAMESPACE {
namespace {

#if MLXMILL_TARGET_HAS_VECTORS

namespace hn = hwy::HWY_NAMESPACE;

using BlockBytes = hn::FixedTag<std::uint8_t, 16>;
using BlockVector = hn::Vec<BlockBytes>;

/// One perfect shuffle of kCount rows: row i and row i + kCount / 2 become rows 2i and 2i + 1,
/// interleaved lane by lane. log2(kCount) of them transpose.
template <class Lane, std::size_t kCount>
HWY_INLINE void shuffle_rows(const BlockVector* in, BlockVector* out) {
  const hn::FixedTag<Lane, 16 / sizeof(Lane)> d;
  for (std::size_t i = 0; i < kCount / 2; ++i) {
    const auto a = hn::BitCast(d, in[i]);
    const auto b = hn::BitCast(d, in[i + kCount / 2]);
    out[2 * i] = hn::BitCast(BlockBytes(), hn::InterleaveLower(d, a, b));
    out[2 * i + 1] = hn::BitCast(BlockBytes(), hn::InterleaveUpper(d, a, b));
  }
}

/// dst[c][r] = src[r][c] for a square of 16 / sizeof(Lane); strides in bytes.
template <class Lane>
HWY_INLINE void transpose_square(const std::uint8_t* HWY_RESTRICT src, std::size_t src_stride,
                                 std::uint8_t* HWY_RESTRICT dst, std::size_t dst_stride) {
  constexpr std::size_t kCount = 16 / sizeof(Lane);
  BlockVector a[kCount];
  BlockVector b[kCount];
  for (std::size_t r = 0; r < kCount; ++r) a[r] = hn::LoadU(BlockBytes(), src + r * src_stride);
  bool in_a = true;
  for (std::size_t step = kCount; step > 1; step /= 2) {
    in_a ? shuffle_rows<Lane, kCount>(a, b) : shuffle_rows<Lane, kCount>(b, a);
    in_a = !in_a;
  }
  for (std::size_t c = 0; c < kCount; ++c) {
    hn::StoreU(in_a ? a[c] : b[c], BlockBytes(), dst + c * dst_stride);
  }
}

template <class Lane>
void transpose_as(const std::uint8_t* src, std::size_t rows, std::size_t cols,
                  std::size_t src_stride, std::uint8_t* dst) {
  constexpr std::size_t kSide = 16 / sizeof(Lane);
  constexpr std::size_t kBand = 64 / sizeof(Lane);
  const std::size_t square_rows = rows / kSide * kSide;
  const std::size_t square_cols = cols / kSide * kSide;
  const std::size_t src_bytes = src_stride * sizeof(Lane);
  const std::size_t dst_bytes = rows * sizeof(Lane);
  for (std::size_t band = 0; band < square_rows; band += kBand) {
    const std::size_t end = std::min(band + kBand, square_rows);
    for (std::size_t c = 0; c < square_cols; c += kSide) {
      for (std::size_t r = band; r < end; r += kSide) {
        transpose_square<Lane>(src + r * src_bytes + c * sizeof(Lane), src_bytes,
                               dst + c * dst_bytes + r * sizeof(Lane), dst_bytes);
      }
    }
  }
  const auto copy_one = [&](std::size_t r, std::size_t c) {
    std::copy_n(src + r * src_bytes + c * sizeof(Lane), sizeof(Lane),
                dst + c * dst_bytes + r * sizeof(Lane));
  };
  for (std::size_t r = 0; r < square_rows; ++r) {
    for (std::size_t c = square_cols; c < cols; ++c) copy_one(r, c);
  }
  for (std::size_t r = square_rows; r < rows; ++r) {
    for (std::size_t c = 0; c < cols; ++c) copy_one(r, c);
  }
}

void transpose_here(const void* src, std::size_t rows, std::size_t cols, std::size_t src_stride,
                    std::size_t element_bytes, void* dst) {
  record_target(HWY_TARGET);
  const auto* from = static_cast<const std::uint8_t*>(src);
  auto* to = static_cast<std::uint8_t*>(dst);
  switch (element_bytes) {
    case 1:
      return transpose_as<std::uint8_t>(from, rows, cols, src_stride, to);
    case 2:
      return transpose_as<std::uint16_t>(from, rows, cols, src_stride, to);
    case 4:
      return transpose_as<std::uint32_t>(from, rows, cols, src_stride, to);
    default:
      return transpose_as<std::uint64_t>(from, rows, cols, src_stride, to);
  }
}

#else

void transpose_here(const void* src, std::size_t rows, std::size_t cols, std::size_t src_stride,
                    std::size_t element_bytes, void* dst) {
  record_target(HWY_TARGET);
  ref::transpose(src, rows, cols, src_stride, element_bytes, dst);
}

#endif  // MLXMILL_TARGET_HAS_VECTORS

}  // namespace
}  // namespace HWY_NAMESPACE
}  // namespace mlxmill::kernels
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace mlxmill::kernels {

HWY_EXPORT(transpose_here);

void transpose(const void* src, std::size_t rows, std::size_t cols, std::size_t src_stride,
               std::size_t element_bytes, void* dst) {
  HWY_DYNAMIC_DISPATCH(transpose_here)(src, rows, cols, src_stride, element_bytes, dst);
}

}  // namespace mlxmill::kernels
#endif  // HWY_ONCE
