// Products on every SIMD target, in F32. Few rows of x meet the codes of a weight as they are read:
// per group, sum(x (s q + b)) is s sum(x q) + b sum(x). For many, weights are decoded to F32 once.
#include "kernels/targets.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/matmul_highway.cc"
#include <hwy/foreach_target.h>
#include <hwy/highway.h>

#include <algorithm>
#include <cstring>

#include "kernels/active_target.h"
#include "kernels/codes-inl.h"
#include "kernels/floats-inl.h"
#include "kernels/matmul_engine.h"
#include "kernels/ref/block_float.h"
#include "kernels/ref/matmul.h"

#ifndef MLXMILL_MATMUL_HIGHWAY_ONCE
#define MLXMILL_MATMUL_HIGHWAY_ONCE
namespace mlxmill::kernels {
namespace {

// Rows of weights decoded at a time, and bytes of scratch for unpacked codes: a block and a vector.
constexpr std::size_t kFloatBatchRows = 16;
constexpr std::size_t kFloatCodesRoom = 4096 + 64;

// Rows of F32 are padded with zeros to whole vectors on every target.
inline std::size_t padded(std::size_t cols) { return round_up(cols, 16); }

// A prepared row: x, then its sums by group.
inline std::size_t row_floats(const MatrixView& w) {
  return padded(w.cols) + (is_affine(w) ? padded(groups_of(w)) : 0);
}

}  // namespace
}  // namespace mlxmill::kernels
#endif

HWY_BEFORE_NAMESPACE();
namespace mlxmill::kernels {
namespace HWY_NAMESPACE {
namespace {

#if MLXMILL_TARGET_HAS_VECTORS

/// n elements of `type` to F32, then zeros up to a multiple of 16.
template <DType kType>
HWY_INLINE void widen_typed(const std::uint8_t* from, std::size_t n, float* to) {
  std::size_t i = 0;
  for (; i + kLanes <= n; i += kLanes) {
    hn::StoreU(load_floats<kType>(from + i * kBytes<kType>), FloatTag(), to + i);
  }
  for (; i < n; ++i) to[i] = ref::load(kType, from, i);
  for (; i < padded(n); ++i) to[i] = 0.0f;
}

HWY_NOINLINE void widen(DType type, const std::uint8_t* from, std::size_t n, float* to) {
  switch (type) {
    case DType::kF16:
      return widen_typed<DType::kF16>(from, n, to);
    case DType::kBF16:
      return widen_typed<DType::kBF16>(from, n, to);
    default:
      return widen_typed<DType::kF32>(from, n, to);
  }
}

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

// What the bytes of unpacked codes stand for.
enum class Code { kInteger, kFp4, kFp8 };

Code code_kind(const MatrixView& w) {
  if (w.scheme->mode == Mode::kAffine) return Code::kInteger;
  return w.scheme->mode == Mode::kMxfp8 ? Code::kFp8 : Code::kFp4;
}

/// Codes of a row as bytes, in blocks of kBlockCodes; `buffer` holds kFloatCodesRoom.
template <int kBits>
HWY_INLINE const std::uint8_t* block_of_codes(const std::uint8_t* row, std::size_t first,
                                              std::size_t n, std::uint8_t* buffer) {
  const std::uint8_t* from = row + first / 8 * kBits;
  if constexpr (kBits == 8) return from;
  if constexpr (kBits == 4) {
    // Interleaving works within 128 bits, so that is how much is taken.
    const hn::CappedTag<std::uint8_t, 16> d;
    const auto low = hn::Set(d, 15);
    std::size_t i = 0;
    for (; i + 32 <= n; i += 32) {
      const auto v = hn::LoadU(d, from + i / 2);
      const hn::Repartition<std::uint16_t, decltype(d)> words;
      const auto a = hn::And(v, low);
      const auto b = hn::And(hn::BitCast(d, hn::ShiftRight<4>(hn::BitCast(words, v))), low);
      hn::Store(hn::InterleaveLower(d, a, b), d, buffer + i);
      hn::Store(hn::InterleaveUpper(d, a, b), d, buffer + i + 16);
    }
    for (; i < n; i += 2) {
      buffer[i] = from[i / 2] & 15;
      buffer[i + 1] = from[i / 2] >> 4;
    }
  } else {
    unpack_codes<kBits>(from, n, buffer);
  }
  return buffer;
}

/// kLanes codes as the numbers they stand for; those of FP4 are doubled, to be integers.
template <Code kCode>
HWY_INLINE Floats code_values(const std::uint8_t* codes) {
  const auto bytes = hn::LoadU(ByteTag(), codes);
  if constexpr (kCode == Code::kInteger) {
    return hn::ConvertTo(FloatTag(), hn::PromoteTo(IntTag(), bytes));
  } else if constexpr (kCode == Code::kFp4) {
    // 0, 1, 2, 3, 4, 6, 8, 12: above 3, the last bit is half of the power before it.
    const Bits code = hn::PromoteTo(BitsTag(), bytes);
    const Bits magnitude = hn::And(code, set_bits(7));
    // As a float with two exponent bits and one of fraction; subnormals come right with the
    // product.
    const Floats value = hn::Mul(float_of(hn::ShiftLeft<22>(magnitude)), set_float(0x1p127f));
    const Bits sign = hn::ShiftLeft<28>(hn::Xor(code, magnitude));
    return float_of(hn::Or(bits_of(value), sign));
  } else {
    const Bits code = hn::PromoteTo(BitsTag(), bytes);
    const Bits magnitude = hn::And(code, set_bits(0x7F));
    const Floats value = hn::Mul(float_of(hn::ShiftLeft<20>(magnitude)), set_float(0x1p120f));
    const Bits sign = hn::ShiftLeft<24>(hn::Xor(code, magnitude));
    const Bits both = hn::Or(bits_of(value), sign);
    return float_of(hn::IfThenElse(hn::Eq(magnitude, set_bits(0x7F)),
                                   set_bits(ref::kQuietNanF32), both));
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

/// Sums over one row of codes for kM rows of x.
template <int kBits, Code kCode, std::size_t kM>
HWY_INLINE void meet_row(const MatrixView& w, std::size_t n, const float* const (&x)[kM],
                         const float* scales, std::uint8_t* buffer, Floats (&total)[kM]) {
  const std::size_t group = group_of(w);
  const std::uint8_t* row = weight_row(w, n);
  for (std::size_t first = 0; first < w.cols; first += kBlockCodes) {
    const std::size_t now = std::min(kBlockCodes, w.cols - first);
    const std::uint8_t* codes = block_of_codes<kBits>(row, first, now, buffer);
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
      const std::uint8_t* codes = block_of_codes<kBits>(weight_row(w, n), first, now, buffer);
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

/// y of kM rows of x and kN decoded rows of weights.
template <std::size_t kM, std::size_t kN>
HWY_INLINE void batch_tile(const Product& p, const float* x, std::size_t i, const float* w,
                           std::size_t n) {
  const std::size_t x_stride = row_floats(p.weight);
  const std::size_t w_stride = padded(p.weight.cols);
  Floats sum[kM][kN];
  for (std::size_t a = 0; a < kM; ++a) {
    for (std::size_t b = 0; b < kN; ++b) sum[a][b] = hn::Zero(FloatTag());
  }
  for (std::size_t k = 0; k < w_stride; k += kLanes) {
    Floats weights[kN];
    for (std::size_t b = 0; b < kN; ++b) weights[b] = hn::LoadU(FloatTag(), w + b * w_stride + k);
    for (std::size_t a = 0; a < kM; ++a) {
      const Floats xs = hn::LoadU(FloatTag(), x + a * x_stride + k);
      for (std::size_t b = 0; b < kN; ++b) sum[a][b] = hn::MulAdd(xs, weights[b], sum[a][b]);
    }
  }
  for (std::size_t a = 0; a < kM; ++a) {
    for (std::size_t b = 0; b < kN; ++b) {
      ref::store(p.type, sum_of(sum[a][b]), y_row(p, i + a), n + b);
    }
  }
}

template <std::size_t kN>
void batch_columns(const Product& p, const float* prepared, const float* w, std::size_t n) {
  const std::size_t stride = row_floats(p.weight);
  std::size_t i = 0;
  for (; i + 4 <= p.count; i += 4) batch_tile<4, kN>(p, prepared + i * stride, i, w, n);
  for (; i < p.count; ++i) batch_tile<1, kN>(p, prepared + i * stride, i, w, n);
}

/// Decodes up to kFloatBatchRows rows of weights and meets all of x with them. Targets with 16 registers
/// take fewer at a time.
void batch_rows(const Product& p, const float* prepared, std::size_t first, std::size_t last,
                float* scratch) {
  constexpr std::size_t kN = HWY_ARCH_X86 && HWY_TARGET > HWY_AVX3 ? 2 : 4;
  const std::size_t stride = padded(p.weight.cols);
  float* decoded = scratch + 2 * padded(groups_of(p.weight)) + kFloatCodesRoom / 4;
  for (std::size_t n = first; n < last; ++n) {
    decode_row(p.weight, n, scratch, decoded + (n - first) * stride);
  }
  std::size_t n = first;
  for (; n + kN <= last; n += kN) {
    batch_columns<kN>(p, prepared, decoded + (n - first) * stride, n);
  }
  for (; n < last; ++n) batch_columns<1>(p, prepared, decoded + (n - first) * stride, n);
}

/// Plain weights meet few rows of x: each row is widened in the cache, then multiplied.
void plain_rows(const Product& p, const float* prepared, std::size_t first, std::size_t last) {
  const MatrixView& w = p.weight;
  constexpr std::size_t kPart = 1024;
  HWY_ALIGN float part[kPart];
  for (std::size_t n = first; n < last; ++n) {
    Floats total[kVectorRows];
    for (Floats& t : total) t = hn::Zero(FloatTag());
    for (std::size_t k = 0; k < w.cols; k += kPart) {
      const std::size_t now = std::min(kPart, w.cols - k);
      widen(w.type, weight_row(w, n) + k * dtype_bytes(w.type), now, part);
      for (std::size_t m = 0; m < p.count; ++m) {
        total[m] = add_products(part, prepared + m * row_floats(w) + k, padded(now), total[m]);
      }
    }
    for (std::size_t m = 0; m < p.count; ++m) {
      ref::store(p.type, sum_of(total[m]) * w.factor, y_row(p, m), n);
    }
  }
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
      Floats sum = hn::Zero(FloatTag());
      for (std::size_t k = 0; k < group_of(w); k += kLanes) {
        sum = hn::Add(sum, hn::LoadU(FloatTag(), to + g * group_of(w) + k));
      }
      sums[g] = sum_of(sum);
    }
  }
}

void compute_here(const Product& p, const std::uint8_t* prepared, std::size_t first,
                  std::size_t last, std::uint8_t* scratch) {
  record_target(HWY_TARGET);
  const auto* x = reinterpret_cast<const float*>(prepared);
  auto* floats = reinterpret_cast<float*>(scratch);
  if (p.count > kVectorRows) return batch_rows(p, x, first, last, floats);
  if (!p.weight.scheme) return plain_rows(p, x, first, last);
  with_codes(p.weight, [&]<int kBits, Code kCode>() HWY_ATTR {
    switch (p.count) {
      case 1:
        return vector_rows<kBits, kCode, 1>(p, x, first, last, floats);
      case 2:
        return vector_rows<kBits, kCode, 2>(p, x, first, last, floats);
      case 3:
        return vector_rows<kBits, kCode, 3>(p, x, first, last, floats);
      default:
        return vector_rows<kBits, kCode, 4>(p, x, first, last, floats);
    }
  });
}

#else

void prepare_here(const Product& /*p*/, std::size_t /*first*/, std::size_t /*last*/,
                  std::uint8_t* /*prepared*/) {}

void compute_here(const Product& p, const std::uint8_t* /*prepared*/, std::size_t first,
                  std::size_t last, std::uint8_t* /*scratch*/) {
  record_target(HWY_TARGET);
  for (std::size_t i = 0; i < p.count; ++i) {
    for (std::size_t n = first; n < last; ++n) {
      ref::store(p.type, static_cast<float>(ref::output(p, i, n).value), y_row(p, i), n);
    }
  }
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
