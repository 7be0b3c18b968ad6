// Products of many rows of x, in integers of 8 bits: weights are decoded to bytes once, and tiles
// of two rows of x and two of weights meet in the caches. Where bytes are multiplied by pairs only;
// elsewhere the kernel for few rows does as well.
#include "kernels/targets.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/matmul_int8_batch.cc"
#include <hwy/foreach_target.h>
#include <hwy/highway.h>

#include <algorithm>
#include <cstring>

#include "kernels/active_target.h"
#include "kernels/integer_products-inl.h"
#include "kernels/integer_rows-inl.h"
#include "kernels/matmul_engine.h"
#include "kernels/ref/matmul.h"

#ifndef MLXMILL_KERNELS_MATMUL_INT8_BATCH_ONCE
#define MLXMILL_KERNELS_MATMUL_INT8_BATCH_ONCE
namespace mlxmill::kernels::int8_batch {

// Rows of weights decoded at a time: they stay in the second-level cache.
inline constexpr std::size_t kDecodedRows = 16;

/// Bytes of a decoded row; whole vectors are written.
inline std::size_t decoded_bytes(const MatrixView& w) { return round_up(w.cols, 64) + 64; }

/// Scales times units of a tile, of two by two rows.
inline std::size_t unit_floats(const MatrixView& w) { return 4 * padded(groups_of(w)); }

}  // namespace mlxmill::kernels::int8_batch
#endif

HWY_BEFORE_NAMESPACE();
namespace mlxmill::kernels {
namespace HWY_NAMESPACE {
namespace {

#if MLXMILL_INTEGERS_OWN && HWY_ARCH_X86 && HWY_TARGET <= HWY_SSE4

/// Rows of weights as bytes, with their parameters.
struct DecodedRows {
  const std::uint8_t* codes;
  std::size_t stride;
  const float* scales;  // Of consecutive rows, groups_of() each; a vector more can be read.
  const float* biases;
  float* units;  // Room for int8_batch::unit_floats().
};

/// Outputs n to n + kN of rows i to i + kM of x; `at`: place of row n among the decoded ones.
/// kPerSum: how many vectors of products fit a sum of 16 bits. kGroup: the group size; 0: any.
template <bool kSigned, std::size_t kPerSum, std::size_t kM, std::size_t kN, std::size_t kGroup = 0>
HWY_INLINE void meet_tile(const Product& p, const DecodedRows& weights, std::size_t at,
                          const std::uint8_t* prepared, std::size_t i, std::size_t n) {
  using L = Lanes<std::int8_t>;
  using Float = typename L::Float;
  using Short = hn::Repartition<std::int16_t, typename L::Int>;
  const std::size_t groups = groups_of(p.weight);
  const std::size_t group = group_of(p.weight);
  const std::size_t units_step = padded(groups);
  const std::int8_t* x[kM];
  const std::uint8_t* w[kN];
  hn::Vec<Float> total[4];
  for (auto& t : total) t = hn::Zero(Float());
  for (std::size_t b = 0; b < kN; ++b) w[b] = weights.codes + (at + b) * weights.stride;
  for (std::size_t a = 0; a < kM; ++a) {
    const std::uint8_t* from = prepared + (i + a) * integers::prepared_row_bytes(p);
    x[a] = reinterpret_cast<const std::int8_t*>(from);
    const auto* sums = reinterpret_cast<const float*>(from + integers::integer_bytes(p));
    for (std::size_t b = 0; b < kN; ++b) {
      const std::size_t k = a * kN + b;
      const std::size_t first = (at + b) * groups;
      total[k] =
          meet_parameters(Float(), weights.scales + first, weights.biases + first, sums,
                          sums + units_step, groups, weights.units + k * units_step, total[k]);
    }
  }
  const auto ones = hn::Set(Short(), std::int16_t{1});
  std::size_t place = 0;
  for (std::size_t g = 0; g < groups; ++g) {
    hn::Vec<typename L::Sum> dots[kM][kN];
    for (auto& row : dots) {
      for (auto& dot : row) dot = hn::Zero(typename L::Sum());
    }
    const auto add_part = [&](std::size_t vectors) HWY_ATTR {
      hn::Vec<Short> pairs[kM][kN];
      for (auto& row : pairs) {
        for (auto& sum : row) sum = hn::Zero(Short());
      }
      for (std::size_t v = 0; v < vectors; ++v, place += L::kBytes) {
        for (std::size_t b = 0; b < kN; ++b) {
          const auto code =
              hn::BitCast(typename L::Int(), hn::LoadU(typename L::Byte(), w[b] + place));
          for (std::size_t a = 0; a < kM; ++a) {
            const auto xs = hn::LoadU(typename L::Int(), x[a] + place);
            pairs[a][b] = hn::Add(pairs[a][b], pair_products<kSigned>(Short(), code, xs));
          }
        }
      }
      auto unused = hn::Zero(typename L::Sum());
      for (std::size_t a = 0; a < kM; ++a) {
        for (std::size_t b = 0; b < kN; ++b) {
          dots[a][b] = hn::ReorderWidenMulAccumulate(typename L::Sum(), pairs[a][b], ones,
                                                     dots[a][b], unused);
        }
      }
    };
    if constexpr (kGroup != 0) {
      constexpr std::size_t kVectors = kGroup / L::kBytes;
      constexpr std::size_t kPart = std::min(kVectors, kPerSum);
      for (std::size_t v = 0; v < kVectors; v += kPart) add_part(kPart);
    } else {
      const std::size_t vectors = group / L::kBytes;
      const std::size_t part = std::min(vectors, kPerSum);
      for (std::size_t v = 0; v < vectors; v += part) add_part(part);
    }
    for (std::size_t a = 0; a < kM; ++a) {
      for (std::size_t b = 0; b < kN; ++b) {
        const std::size_t k = a * kN + b;
        const auto dot = hn::ConvertTo(Float(), dots[a][b]);
        total[k] = hn::MulAdd(dot, hn::Set(Float(), weights.units[k * units_step + g]), total[k]);
      }
    }
  }
  const auto four = sums_of_lanes(Float(), total[0], total[1], total[2], total[3]);
  HWY_ALIGN float out[4];
  hn::StoreU(four, hn::DFromV<decltype(four)>(), out);
  for (std::size_t a = 0; a < kM; ++a) {
    for (std::size_t b = 0; b < kN; ++b) {
      ref::store(p.type, out[a * kN + b], y_row(p, i + a), n + b);
    }
  }
}

/// Row n as bytes: codes, those of eight bits less 128, FP4 as twice its value.
template <int kBits, Code kCode>
HWY_INLINE void decode_bytes(const MatrixView& w, std::size_t n, std::uint8_t* to) {
  const std::uint8_t* row = weight_row(w, n);
  for (std::size_t first = 0; first < w.cols; first += kBlockCodes) {
    const std::size_t now = std::min(kBlockCodes, w.cols - first);
    if constexpr (kBits == 8) {
      for (std::size_t k = first; k < first + now; ++k) to[k] = row[k] ^ 0x80;
    } else {
      block_of_codes<kBits, kCode>(row, first, now, to + first);
    }
  }
}

template <bool kSigned, std::size_t kPerSum, int kBits, Code kCode>
void batch(const Product& p, const std::uint8_t* prepared, std::size_t first, std::size_t last,
           std::uint8_t* scratch) {
  const MatrixView& w = p.weight;
  const std::size_t room = integers::task_parameters(w);
  auto* scales = reinterpret_cast<float*>(scratch);
  float* units = scales + 2 * room;
  auto* codes = reinterpret_cast<std::uint8_t*>(units + int8_batch::unit_floats(w));
  const DecodedRows weights{codes, int8_batch::decoded_bytes(w), scales, scales + room, units};
  for (std::size_t n0 = first; n0 < last; n0 += int8_batch::kDecodedRows) {
    const std::size_t count = std::min(int8_batch::kDecodedRows, last - n0);
    load_task(w, n0, n0 + count, kBits == 8, scales, scales + room);
    for (std::size_t b = 0; b < count; ++b) {
      decode_bytes<kBits, kCode>(w, n0 + b, codes + b * weights.stride);
    }
    const auto across = [&]<std::size_t kM>(std::size_t i) HWY_ATTR {
      std::size_t b = 0;
      for (; b + 2 <= count; b += 2) {
        // Groups of 64 are what most models have.
        if (kM == 2 && group_of(w) == 64) {
          meet_tile<kSigned, kPerSum, kM, 2, 64>(p, weights, b, prepared, i, n0 + b);
        } else {
          meet_tile<kSigned, kPerSum, kM, 2>(p, weights, b, prepared, i, n0 + b);
        }
      }
      if (b < count) meet_tile<kSigned, kPerSum, kM, 1>(p, weights, b, prepared, i, n0 + b);
    };
    std::size_t i = 0;
    for (; i + 2 <= p.count; i += 2) across.template operator()<2>(i);
    if (i < p.count) across.template operator()<1>(i);
  }
}

HWY_NOINLINE void prepare_batch(const Product& p, std::size_t first, std::size_t last,
                                std::uint8_t* prepared) {
  for (std::size_t i = first; i < last; ++i) {
    // In their order, as codes of eight bits meet them.
    prepare_row<std::int8_t, Form::kEight>(p, i, prepared + i * integers::prepared_row_bytes(p));
  }
}

HWY_NOINLINE void compute_batch(const Product& p, const std::uint8_t* prepared, std::size_t first,
                                std::size_t last, std::uint8_t* scratch) {
  with_codes(p.weight, [&]<int kBits, Code kCode>() HWY_ATTR {
    // Sums of 16 bits hold eight vectors of two products of 15 and 127, two of those of 63.
    constexpr bool kSigned = kBits == 8 || kCode == Code::kFp4;
    constexpr std::size_t kPerSum = kBits == 8 ? 1 : kBits > 4 ? 2 : 8;
    batch<kSigned, kPerSum, kBits, kCode>(p, prepared, first, last, scratch);
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

/// Whether the SIMD target in force multiplies bytes by pairs: x86 from SSE4 on.
bool target_in_force_has_pairs() {
#if HWY_ARCH_X86
  const std::int64_t only = target_restriction().load(std::memory_order_relaxed);
  if (only != 0) return only <= HWY_SSE4;
  static const bool has = (hwy::SupportedTargets() & (HWY_SSE4 | (HWY_SSE4 - 1))) != 0;
  return has;
#else
  return false;
#endif
}

}  // namespace

const MatmulEngine& int8_batch_engine() {
  static const MatmulEngine engine = {
      "highway-int8-batch",
      /*portable=*/true,
      [] { return true; },
      [](const Product& p) {
        return p.int8_x && p.count > kVectorRows && integers::has_int8_codes(p.weight) &&
               target_in_force_has_pairs();
      },
      [](const Product& p) { return p.count * integers::prepared_row_bytes(p); },
      [](const Product& p, std::size_t first, std::size_t last, std::uint8_t* prepared) {
        HWY_DYNAMIC_DISPATCH(prepare_batch_here)(p, first, last, prepared);
      },
      [](const Product& p) {
        const MatrixView& w = p.weight;
        const std::size_t floats = 2 * integers::task_parameters(w) + int8_batch::unit_floats(w);
        return floats * sizeof(float) + int8_batch::kDecodedRows * int8_batch::decoded_bytes(w);
      },
      [](const Product& p) { return vector_task_rows(p.weight); },
      [](const Product& p, const std::uint8_t* prepared, std::size_t first, std::size_t last,
         std::uint8_t* scratch) {
        HWY_DYNAMIC_DISPATCH(compute_batch_here)(p, prepared, first, last, scratch);
      }};
  return engine;
}

}  // namespace mlxmill::kernels
#endif  // HWY_ONCE
