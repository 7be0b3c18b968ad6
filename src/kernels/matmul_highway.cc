// Products on every SIMD target, in F32. Few rows of x meet the codes of a weight as they are read:
// per group, sum(x (s q + b)) is s sum(x q) + b sum(x). For many, weights are decoded to F32 once.
#include "kernels/targets.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/matmul_highway.cc"
#include <hwy/cache_control.h>
#include <hwy/foreach_target.h>
#include <hwy/highway.h>

#include <algorithm>
#include <cstring>

#include "kernels/active_target.h"
#include "kernels/float_rows-inl.h"
#include "kernels/matmul_engine.h"
#include "kernels/ref/matmul.h"

HWY_BEFORE_NAMESPACE();
namespace mlxmill::kernels {
namespace HWY_NAMESPACE {
namespace {

#if MLXMILL_TARGET_HAS_VECTORS

/// The scales or biases of row n, times the weight's factor.
void decode_parameters(const MatrixView& w, const void* at, std::size_t n, float* to) {
  const std::uint8_t* from = parameter_row(w, at, n);
  const std::size_t groups = groups_of(w);
  if (is_affine(w)) {
    widen(w.type, from, groups, to);
  } else {
    for (std::size_t g = 0; g < groups; ++g) {
      to[g] = ref::block_scale_value(w.scheme->mode, DType::kF32, from[g]);
    }
  }
  if (w.factor == 1.0f) return;
  for (std::size_t g = 0; g < groups; ++g) to[g] *= w.factor;
}

/// Sums over one row of codes for kM rows of x.
template <int kBits, Code kCode, std::size_t kM>
HWY_INLINE void meet_row(const MatrixView& w, std::size_t n, const float* const (&x)[kM],
                         const float* scales, std::uint8_t* buffer, Floats (&total)[kM]) {
  const std::size_t group = group_of(w);
  const std::uint8_t* row = weight_row(w, n);
  for (std::size_t first = 0; first < w.cols; first += kBlockCodes) {
    const std::size_t now = std::min(kBlockCodes, w.cols - first);
    const std::uint8_t* codes = block_of_codes<kBits, kCode>(row, first, now, buffer);
    for (std::size_t i = 0; i < now; i += group) {
      Floats dot[kM];
      for (std::size_t m = 0; m < kM; ++m) dot[m] = hn::Zero(FloatTag());
      for (std::size_t j = i; j < i + group; j += kLanes) {
        const Floats q = code_values<kCode>(codes + j);
        for (std::size_t m = 0; m < kM; ++m) {
          dot[m] = hn::MulAdd(q, hn::LoadU(FloatTag(), x[m] + first + j), dot[m]);
        }
      }
      const Floats scale = set_float(scales[(first + i) / group] * kUnit<kCode>);
      for (std::size_t m = 0; m < kM; ++m) total[m] = hn::MulAdd(dot[m], scale, total[m]);
    }
  }
}

/// total += a * b over n elements, a multiple of 16.
HWY_INLINE Floats add_products(const float* a, const float* b, std::size_t n, Floats total) {
  for (std::size_t i = 0; i < n; i += kLanes) {
    total = hn::MulAdd(hn::LoadU(FloatTag(), a + i), hn::LoadU(FloatTag(), b + i), total);
  }
  return total;
}

HWY_INLINE float sum_of(Floats x) { return hn::GetLane(hn::SumOfLanes(FloatTag(), x)); }

template <int kBits, Code kCode, std::size_t kM>
void vector_rows(const Product& p, const float* prepared, std::size_t first, std::size_t last,
                 float* scratch) {
  const MatrixView& w = p.weight;
  const std::size_t groups = padded(groups_of(w));
  float* scales = scratch;
  float* biases = scratch + groups;
  auto* buffer = reinterpret_cast<std::uint8_t*>(scratch + 2 * groups);
  std::fill(scales, biases + groups, 0.0f);
  const float* x[kM];
  for (std::size_t m = 0; m < kM; ++m) x[m] = prepared + m * row_floats(w);
  for (std::size_t n = first; n < last; ++n) {
    Floats total[kM];
    for (std::size_t m = 0; m < kM; ++m) total[m] = hn::Zero(FloatTag());
    decode_parameters(w, w.scales, n, scales);
    if (is_affine(w)) {
      decode_parameters(w, w.biases, n, biases);
      for (std::size_t m = 0; m < kM; ++m) {
        total[m] = add_products(biases, x[m] + padded(w.cols), groups, total[m]);
      }
    }
    meet_row<kBits, kCode, kM>(w, n, x, scales, buffer, total);
    for (std::size_t m = 0; m < kM; ++m) ref::store(p.type, sum_of(total[m]), y_row(p, m), n);
  }
}

/// Row n decoded to F32 and padded.
void decode_row(const MatrixView& w, std::size_t n, float* scratch, float* to) {
  if (!w.scheme) {
    widen(w.type, weight_row(w, n), w.cols, to);
    for (std::size_t k = 0; w.factor != 1.0f && k < w.cols; ++k) to[k] *= w.factor;
    return;
  }
  const std::size_t groups = padded(groups_of(w));
  const std::size_t group = group_of(w);
  float* scales = scratch;
  float* biases = scratch + groups;
  auto* buffer = reinterpret_cast<std::uint8_t*>(scratch + 2 * groups);
  decode_parameters(w, w.scales, n, scales);
  if (is_affine(w)) {
    decode_parameters(w, w.biases, n, biases);
  } else {
    std::fill(biases, biases + groups, 0.0f);
  }
  with_codes(w, [&]<int kBits, Code kCode>() HWY_ATTR {
    for (std::size_t first = 0; first < w.cols; first += kBlockCodes) {
      const std::size_t now = std::min(kBlockCodes, w.cols - first);
      const std::uint8_t* codes =
          block_of_codes<kBits, kCode>(weight_row(w, n), first, now, buffer);
      for (std::size_t i = 0; i < now; i += kLanes) {
        const std::size_t g = (first + i) / group;
        const Floats scale = set_float(scales[g] * kUnit<kCode>);
        hn::StoreU(hn::MulAdd(code_values<kCode>(codes + i), scale, set_float(biases[g])),
                   FloatTag(), to + first + i);
      }
    }
  });
  std::fill(to + w.cols, to + padded(w.cols), 0.0f);
}

// So many columns of a few rows of x stay in the first-level cache.
constexpr std::size_t kBatchCols = 1024;

/// Sums of a tile on their way over the columns: a vector for each pair of rows, those of a row of
/// weights together.
struct TileSums {
  HWY_ALIGN float lanes[4 * kFloatBatchRows * kLanes];
};

/// Adds products of kM rows of x and kN decoded rows of weights to their sums, columns [k, end).
template <std::size_t kM, std::size_t kN>
HWY_INLINE void add_tile(const float* x, std::size_t x_stride, const float* w, std::size_t w_stride,
                         std::size_t k, std::size_t end, float* sums) {
  Floats sum[kM][kN];
  for (std::size_t a = 0; a < kM; ++a) {
    for (std::size_t b = 0; b < kN; ++b) {
      sum[a][b] = hn::Load(FloatTag(), sums + (b * kM + a) * kLanes);
    }
  }
  for (; k < end; k += kLanes) {
    Floats weights[kN];
    for (std::size_t b = 0; b < kN; ++b) weights[b] = hn::LoadU(FloatTag(), w + b * w_stride + k);
    for (std::size_t a = 0; a < kM; ++a) {
      const Floats xs = hn::LoadU(FloatTag(), x + a * x_stride + k);
      for (std::size_t b = 0; b < kN; ++b) sum[a][b] = hn::MulAdd(xs, weights[b], sum[a][b]);
    }
  }
  for (std::size_t a = 0; a < kM; ++a) {
    for (std::size_t b = 0; b < kN; ++b) {
      hn::Store(sum[a][b], FloatTag(), sums + (b * kM + a) * kLanes);
    }
  }
}

/// y of kM rows of x and `count` decoded rows of weights. Targets with 16 registers take fewer rows
/// of weights at a time.
template <std::size_t kM>
void batch_row(const Product& p, const float* x, std::size_t i, const float* w, std::size_t n,
               std::size_t count) {
  constexpr std::size_t kN = HWY_ARCH_X86 && HWY_TARGET > HWY_AVX3 ? 3 : 4;
  const std::size_t x_stride = row_floats(p.weight);
  const std::size_t w_stride = padded(p.weight.cols);
  TileSums sums;
  std::fill_n(sums.lanes, kM * count * kLanes, 0.0f);
  for (std::size_t k = 0; k < w_stride; k += kBatchCols) {
    const std::size_t end = std::min(w_stride, k + kBatchCols);
    std::size_t b = 0;
    for (; b + kN <= count; b += kN) {
      add_tile<kM, kN>(x, x_stride, w + b * w_stride, w_stride, k, end,
                       sums.lanes + kM * b * kLanes);
    }
    for (; b < count; ++b) {
      add_tile<kM, 1>(x, x_stride, w + b * w_stride, w_stride, k, end,
                      sums.lanes + kM * b * kLanes);
    }
  }
  for (std::size_t b = 0; b < count; ++b) {
    for (std::size_t a = 0; a < kM; ++a) {
      const float* lanes = sums.lanes + (kM * b + a) * kLanes;
      ref::store(p.type, sum_of(hn::Load(FloatTag(), lanes)), y_row(p, i + a), n + b);
    }
  }
}

/// Decodes up to kFloatBatchRows rows of weights, and all of x meets them: the decoded rows stay in
/// the second-level cache, a few rows of x in the first.
void batch_rows(const Product& p, const float* prepared, std::size_t first, std::size_t last,
                float* scratch) {
  const std::size_t stride = padded(p.weight.cols);
  float* decoded = scratch + 2 * padded(groups_of(p.weight)) + kFloatCodesRoom / 4;
  for (std::size_t n = first; n < last; ++n) {
    decode_row(p.weight, n, scratch, decoded + (n - first) * stride);
  }
  const std::size_t x_stride = row_floats(p.weight);
  std::size_t i = 0;
  for (; i + 4 <= p.count; i += 4) {
    batch_row<4>(p, prepared + i * x_stride, i, decoded, first, last - first);
  }
  for (; i < p.count; ++i) {
    batch_row<1>(p, prepared + i * x_stride, i, decoded, first, last - first);
  }
}

/// Plain weights meet kM rows of x as they are read.
template <DType kType, std::size_t kM>
void plain_rows(const Product& p, const float* prepared, std::size_t first, std::size_t last) {
  const MatrixView& w = p.weight;
  // Sums side by side: one would wait for itself.
  constexpr std::size_t kSums = kM == 1 ? 4 : 2;
  constexpr std::size_t kStep = kSums * kLanes;
  const std::size_t ahead = fetch_ahead(row_bytes(w), 1);
  for (std::size_t n = first; n < last; ++n) {
    const std::uint8_t* row = weight_row(w, n);
    const float* x = prepared;
    Floats total[kM][kSums];
    for (auto& of_row : total) {
      for (Floats& t : of_row) t = hn::Zero(FloatTag());
    }
    const auto add = [&](std::size_t sum, Floats weights, std::size_t k) HWY_ATTR {
      for (std::size_t m = 0; m < kM; ++m) {
        const Floats xs = hn::LoadU(FloatTag(), x + m * row_floats(w) + k);
        total[m][sum] = hn::MulAdd(weights, xs, total[m][sum]);
      }
    };
    std::size_t k = 0;
    for (; k + kStep <= w.cols; k += kStep) {
      hwy::Prefetch(row + k * kBytes<kType> + ahead);
      for (std::size_t sum = 0; sum < kSums; ++sum) {
        const std::size_t at = k + sum * kLanes;
        add(sum, load_floats<kType>(row + at * kBytes<kType>), at);
      }
    }
    HWY_ALIGN float rest[kLanes];
    for (; k < w.cols; k += kLanes) {
      for (std::size_t i = 0; i < kLanes; ++i) {
        rest[i] = k + i < w.cols ? ref::load(kType, row, k + i) : 0.0f;
      }
      add(0, hn::Load(FloatTag(), rest), k);
    }
    for (std::size_t m = 0; m < kM; ++m) {
      for (std::size_t sum = 1; sum < kSums; ++sum) {
        total[m][0] = hn::Add(total[m][0], total[m][sum]);
      }
      ref::store(p.type, sum_of(total[m][0]) * w.factor, y_row(p, m), n);
    }
  }
}

/// Calls f<kM>() for as many rows of x as there are, kVectorRows at most.
template <class F>
HWY_INLINE void with_count(std::size_t count, const F& f) {
  static_assert(kVectorRows == 4);
  if (count == 1) return f.template operator()<1>();
  if (count == 2) return f.template operator()<2>();
  if (count == 3) return f.template operator()<3>();
  f.template operator()<4>();
}

void prepare_here(const Product& p, std::size_t first, std::size_t last, std::uint8_t* prepared) {
  const MatrixView& w = p.weight;
  for (std::size_t i = first; i < last; ++i) {
    float* to = reinterpret_cast<float*>(prepared) + i * row_floats(w);
    widen(p.type, x_row(p, i), w.cols, to);
    if (!is_affine(w)) continue;
    float* sums = to + padded(w.cols);
    std::fill(sums, sums + padded(groups_of(w)), 0.0f);
    for (std::size_t g = 0; g < groups_of(w); ++g) {
      sums[g] = sum_of_floats(to + g * group_of(w), group_of(w));
    }
  }
}

void compute_here(const Product& p, const std::uint8_t* prepared, std::size_t first,
                  std::size_t last, std::uint8_t* scratch) {
  record_target(HWY_TARGET);
  const auto* x = reinterpret_cast<const float*>(prepared);
  auto* floats = reinterpret_cast<float*>(scratch);
  if (p.count > kVectorRows) return batch_rows(p, x, first, last, floats);
  with_count(p.count, [&]<std::size_t kM>() HWY_ATTR {
    if (p.weight.scheme) {
      with_codes(p.weight, [&]<int kBits, Code kCode>() HWY_ATTR {
        vector_rows<kBits, kCode, kM>(p, x, first, last, floats);
      });
    } else if (p.weight.type == DType::kBF16) {
      plain_rows<DType::kBF16, kM>(p, x, first, last);
    } else if (p.weight.type == DType::kF16) {
      plain_rows<DType::kF16, kM>(p, x, first, last);
    } else {
      plain_rows<DType::kF32, kM>(p, x, first, last);
    }
  });
}

#else

void prepare_here(const Product& /*p*/, std::size_t /*first*/, std::size_t /*last*/,
                  std::uint8_t* /*prepared*/) {}

void compute_here(const Product& p, const std::uint8_t* /*prepared*/, std::size_t first,
                  std::size_t last, std::uint8_t* /*scratch*/) {
  record_target(HWY_TARGET);
  ref::compute(p, first, last);
}

#endif  // MLXMILL_TARGET_HAS_VECTORS

}  // namespace
}  // namespace HWY_NAMESPACE
}  // namespace mlxmill::kernels
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace mlxmill::kernels {
namespace {

HWY_EXPORT(prepare_here);
HWY_EXPORT(compute_here);

}  // namespace

const MatmulEngine& highway_engine() {
  static const MatmulEngine engine{
      "highway",
      /*portable=*/true,
      [] { return true; },
      [](const Product&) { return true; },
      [](const Product& p) { return p.count * row_floats(p.weight) * sizeof(float); },
      [](const Product& p, std::size_t first, std::size_t last, std::uint8_t* prepared) {
        HWY_DYNAMIC_DISPATCH(prepare_here)(p, first, last, prepared);
      },
      [](const Product& p) {
        const std::size_t parameters = 2 * padded(groups_of(p.weight)) * sizeof(float);
        const std::size_t decoded =
            p.count > kVectorRows ? kFloatBatchRows * padded(p.weight.cols) * sizeof(float) : 0;
        return parameters + kFloatCodesRoom + decoded;
      },
      [](const Product& p) {
        return p.count > kVectorRows ? kFloatBatchRows : vector_task_rows(p.weight);
      },
      [](const Product& p, const std::uint8_t* prepared, std::size_t first, std::size_t last,
         std::uint8_t* scratch) {
        HWY_DYNAMIC_DISPATCH(compute_here)(p, prepared, first, last, scratch);
      }};
  return engine;
}

}  // namespace mlxmill::kernels
#endif  // HWY_ONCE
