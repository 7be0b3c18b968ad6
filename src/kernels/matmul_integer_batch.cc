// Products of many rows of x, in integers. Blocks of rows of weights are decoded and interleaved
// once, so that a lane of a vector is a row, and tiles of four rows of x and two such vectors meet
// in the caches. For x86, whose products of integers are cheaper than those of F32.
#include "kernels/targets.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/matmul_integer_batch.cc"
#include <hwy/foreach_target.h>
#include <hwy/highway.h>

#include <algorithm>
#include <cstring>

#include "kernels/active_target.h"
#include "kernels/integer_blocks-inl.h"
#include "kernels/integer_products-inl.h"
#include "kernels/integer_rows-inl.h"
#include "kernels/matmul_engine.h"
#include "kernels/ref/matmul.h"

HWY_BEFORE_NAMESPACE();
namespace mlxmill::kernels {
namespace HWY_NAMESPACE {
namespace {

#if MLXMILL_INTEGERS_OWN && HWY_ARCH_X86 && HWY_TARGET <= HWY_SSE4

/// How many pairs of products of bytes a sum of 16 bits holds: x is up to 127, codes up to 63, 31,
/// 24 (FP4 from its least value) and 15.
template <int kBits, Code kCode>
inline constexpr std::size_t kSteps = kBits == 6                          ? 2
                                      : kBits == 5 || kCode == Code::kFp4 ? 4
                                                                          : 8;

/// Rows of x ready to meet a block.
template <class T, std::size_t kM>
struct TileRows {
  const T* x[kM];
  const float* sums[kM];
  const float* units[kM];

  TileRows(const Product& p, const std::uint8_t* prepared, std::size_t i) {
    for (std::size_t m = 0; m < kM; ++m) {
      const std::uint8_t* from = prepared + (i + m) * integers::prepared_row_bytes(p);
      x[m] = reinterpret_cast<const T*>(from);
      sums[m] = reinterpret_cast<const float*>(from + integers::integer_bytes(p));
      units[m] = sums[m] + padded(groups_of(p.weight));
    }
  }
};

/// The four bytes at `x` in every lane.
template <class V>
HWY_INLINE V broadcast(const void* x) {
  std::int32_t four;
  std::memcpy(&four, x, sizeof four);
  return hn::BitCast(hn::DFromV<V>(), hn::Set(SumTag(), four));
}

/// Adds products of neighbours. (On x86 all of them go into the first of Highway's two sums.)
template <class V>
HWY_INLINE void add_products(V a, V b, hn::Vec<SumTag>& sum) {
  auto unused = hn::Zero(SumTag());
  sum = hn::ReorderWidenMulAccumulate(SumTag(), a, b, sum, unused);
}

/// Adds products over one group to `sums`: `w` begins with it, `at` is its first column of x.
template <std::size_t kUnused, std::size_t kM>
HWY_INLINE void meet_group(const std::int16_t* w, const std::int16_t* const (&x)[kM],
                           std::size_t at, std::size_t group, hn::Vec<SumTag> (&sums)[kM][2]) {
  const hn::Repartition<std::int16_t, SumTag> d;
  using V = hn::Vec<decltype(d)>;
  for (std::size_t k = at; k < at + group; k += 2, w += 2 * kBlock) {
    const V first = hn::LoadU(d, w);
    const V second = hn::LoadU(d, w + kBlock);
    for (std::size_t m = 0; m < kM; ++m) {
      const V xs = broadcast<V>(x[m] + k);
      add_products(first, xs, sums[m][0]);
      add_products(second, xs, sums[m][1]);
    }
  }
}

template <std::size_t kStepsPerSum, std::size_t kM>
HWY_INLINE void meet_group(const std::int8_t* w, const std::int8_t* const (&x)[kM], std::size_t at,
                           std::size_t group, hn::Vec<SumTag> (&sums)[kM][2]) {
  const hn::Repartition<std::int8_t, SumTag> d;
  const hn::Repartition<std::int16_t, SumTag> pairs;
  using V = hn::Vec<decltype(d)>;
  const auto ones = hn::Set(pairs, std::int16_t{1});
  for (std::size_t k = at; k < at + group;) {
    hn::Vec<decltype(pairs)> part[kM][2];
    for (auto& row : part) row[0] = row[1] = hn::Zero(pairs);
    for (std::size_t step = 0; step < kStepsPerSum; ++step, k += 4, w += 4 * kBlock) {
      const V first = hn::LoadU(d, w);
      const V second = hn::LoadU(d, w + 2 * kBlock);
      for (std::size_t m = 0; m < kM; ++m) {
        const V xs = broadcast<V>(x[m] + k);
        part[m][0] = hn::Add(part[m][0], pair_products<false>(pairs, first, xs));
        part[m][1] = hn::Add(part[m][1], pair_products<false>(pairs, second, xs));
      }
    }
    for (std::size_t m = 0; m < kM; ++m) {
      add_products(part[m][0], ones, sums[m][0]);
      add_products(part[m][1], ones, sums[m][1]);
    }
  }
}

/// Adds what groups [first, last) of kM rows of x give to the totals of row i and the next.
template <class T, std::size_t kStepsPerSum, std::size_t kM>
HWY_INLINE void meet_tile(const Block<T>& block, const TileRows<T, kM>& rows, std::size_t group,
                          std::size_t first, std::size_t last, std::size_t i) {
  for (std::size_t g = first; g < last; ++g) {
    hn::Vec<SumTag> sums[kM][2];
    for (auto& row : sums) row[0] = row[1] = hn::Zero(SumTag());
    meet_group<kStepsPerSum>(block.integers + g * group * kBlock, rows.x, g * group, group, sums);
    for (std::size_t m = 0; m < kM; ++m) {
      const auto unit = hn::Set(TotalTag(), rows.units[m][g]);
      const auto sum = hn::Set(TotalTag(), rows.sums[m][g]);
      for (std::size_t n = 0; n < 2; ++n) {
        const std::size_t at = g * kBlock + n * kSumLanes;
        float* to = block.totals + (i + m) * kBlock + n * kSumLanes;
        const auto scale = hn::Mul(hn::LoadU(TotalTag(), block.scales + at), unit);
        auto total = hn::LoadU(TotalTag(), to);
        total = hn::MulAdd(hn::ConvertTo(TotalTag(), sums[m][n]), scale, total);
        total = hn::MulAdd(hn::LoadU(TotalTag(), block.biases + at), sum, total);
        hn::StoreU(total, TotalTag(), to);
      }
    }
  }
}

/// Rounds the totals of `count` rows of weights from n on to y.
template <DType kType>
void store_totals(const Product& p, const float* totals, std::size_t n, std::size_t count) {
  for (std::size_t i = 0; i < p.count; ++i, totals += kBlock) {
    std::uint8_t* y = y_row(p, i) + n * kBytes<kType>;
    std::size_t r = 0;
    for (; r + kLanes <= count; r += kLanes) {
      store_floats<kType>(hn::LoadU(FloatTag(), totals + r), y + r * kBytes<kType>);
    }
    for (; r < count; ++r) ref::store(kType, totals[r], y, r);
  }
}

template <class T, int kBits, Code kCode>
void batch(const Product& p, const std::uint8_t* prepared, std::size_t first, std::size_t last,
           std::uint8_t* scratch) {
  constexpr std::size_t kStepsPerSum = kSteps<kBits, kCode>;
  const integers::BlockLayout layout(p, sizeof(T));
  const std::size_t group = group_of(p.weight);
  const std::size_t groups = groups_of(p.weight);
  const std::size_t stretch = std::max<std::size_t>(1, integers::kStretchCodes / group);
  for (std::size_t n = first; n < last; n += kBlock) {
    const std::size_t count = std::min(kBlock, last - n);
    const auto block = decode_block<T, kBits, kCode>(p, layout, n, count, scratch);
    std::fill_n(block.totals, p.count * kBlock, 0.0f);
    for (std::size_t g = 0; g < groups; g += stretch) {
      const auto meet = [&]<std::size_t kM>(std::size_t i) HWY_ATTR {
        meet_tile<T, kStepsPerSum, kM>(block, TileRows<T, kM>(p, prepared, i), group, g,
                                       std::min(groups, g + stretch), i);
      };
      std::size_t i = 0;
      for (; i + 4 <= p.count; i += 4) meet.template operator()<4>(i);
      for (; i + 2 <= p.count; i += 2) meet.template operator()<2>(i);
      if (i < p.count) meet.template operator()<1>(i);
    }
    if (p.type == DType::kBF16) {
      store_totals<DType::kBF16>(p, block.totals, n, count);
    } else if (p.type == DType::kF16) {
      store_totals<DType::kF16>(p, block.totals, n, count);
    } else {
      store_totals<DType::kF32>(p, block.totals, n, count);
    }
  }
}

HWY_NOINLINE void prepare_batch(const Product& p, std::size_t first, std::size_t last,
                                std::uint8_t* prepared) {
  for (std::size_t i = first; i < last; ++i) {
    std::uint8_t* to = prepared + i * integers::prepared_row_bytes(p);
    if (integers::takes_int8(p)) {
      prepare_row<std::int8_t, Form::kInOrder>(p, i, to);
    } else {
      prepare_row<std::int16_t, Form::kInOrder>(p, i, to);
    }
  }
}

HWY_NOINLINE void compute_batch(const Product& p, const std::uint8_t* prepared, std::size_t first,
                                std::size_t last, std::uint8_t* scratch) {
  with_codes(p.weight, [&]<int kBits, Code kCode>() HWY_ATTR {
    if constexpr (kBits <= 6) {
      if (integers::takes_int8(p)) {
        return batch<std::int8_t, kBits, kCode>(p, prepared, first, last, scratch);
      }
    }
    if constexpr (kCode != Code::kFp8) {
      batch<std::int16_t, kBits, kCode>(p, prepared, first, last, scratch);
    }
  });
}

#elif MLXMILL_INTEGERS_OF_AVX2

using N_AVX2::compute_batch;
using N_AVX2::prepare_batch;

#else

void prepare_batch(const Product& /*p*/, std::size_t /*first*/, std::size_t /*last*/,
                   std::uint8_t* /*prepared*/) {}

void compute_batch(const Product& p, const std::uint8_t* /*prepared*/, std::size_t first,
                   std::size_t last, std::uint8_t* /*scratch*/) {
  ref::compute(p, first, last);
}

#endif

void prepare_batch_here(const Product& p, std::size_t first, std::size_t last,
                        std::uint8_t* prepared) {
  prepare_batch(p, first, last, prepared);
}

void compute_batch_here(const Product& p, const std::uint8_t* prepared, std::size_t first,
                        std::size_t last, std::uint8_t* scratch) {
  record_target(HWY_TARGET);
  compute_batch(p, prepared, first, last, scratch);
}

}  // namespace
}  // namespace HWY_NAMESPACE
}  // namespace mlxmill::kernels
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace mlxmill::kernels {
namespace {

HWY_EXPORT(prepare_batch_here);
HWY_EXPORT(compute_batch_here);

#if HWY_ARCH_X86
bool has_integer_batch() { return target_in_force() <= HWY_SSE4; }

/// AVX-512 does as many products of F32 as AVX2 does of 16 bits.
bool shorts_beat_floats() { return has_integer_batch() && target_in_force() >= HWY_AVX2; }
#else
bool has_integer_batch() { return false; }
bool shorts_beat_floats() { return false; }
#endif

MatmulEngine engine_of(const char* name, bool (*supported)(), bool (*takes)(const Product&)) {
  MatmulEngine engine = integers::integer_engine(
      name, takes,
      [](const Product& p, std::size_t first, std::size_t last, std::uint8_t* prepared) {
        HWY_DYNAMIC_DISPATCH(prepare_batch_here)(p, first, last, prepared);
      },
      [](const Product& p) {
        return integers::BlockLayout(p, integers::takes_int8(p) ? 1 : 2).end;
      },
      [](const Product& p, const std::uint8_t* prepared, std::size_t first, std::size_t last,
         std::uint8_t* scratch) {
        HWY_DYNAMIC_DISPATCH(compute_batch_here)(p, prepared, first, last, scratch);
      });
  engine.supported = supported;
  engine.task_rows = [](const Product&) { return integers::kBlockRows; };
  return engine;
}

}  // namespace

const MatmulEngine& int16_batch_engine() {
  static const MatmulEngine engine =
      engine_of("highway-int16-batch", shorts_beat_floats,
                [](const Product& p) { return p.count > kVectorRows && integers::takes_int16(p); });
  return engine;
}

const MatmulEngine& int8_batch_engine() {
  static const MatmulEngine engine =
      engine_of("highway-int8-batch", has_integer_batch,
                [](const Product& p) { return p.count > kVectorRows && integers::takes_int8(p); });
  return engine;
}

}  // namespace mlxmill::kernels
#endif  // HWY_ONCE
